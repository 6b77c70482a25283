//! Punchlist runs YAML checklists against a node of an HPC or AI cluster and hands over a punch list.
//!
//! The modules, in the order in which data passes through them.

pub mod checklist;
pub mod cli;
pub mod expression;
pub mod fact;
pub mod handoff;
pub mod judge;
pub mod knowledge;
pub mod observe;
pub mod printable;
pub mod probe;
pub mod report;
pub mod trust;

/// The stack for a thread that parses or evaluates expressions, in bytes. Both recurse, within limits that this is
/// ample for; the stack that the system gives can be anything (`ulimit -s`).
pub const STACK_BYTES: usize = 16 << 20;
