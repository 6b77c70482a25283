//! Punchlist runs YAML checklists against a node of an HPC or AI cluster and hands over a punch list.
//!
//! The modules, in the order in which data passes through them.

pub mod expression;
pub mod fact;
pub mod probe;
