//! What the field knows: what the driver's error codes mean, and which lines of a kernel log are an event.
//!
//! Data lies beside the code, in files that name the source of each row; nothing here touches a machine.
//!
//! The parts, one file each:
//! - `lines`: a kernel log in any format, taken apart into time, host and message;
//! - `sieve`: the lines that have to be read, found at the speed of reading;
//! - `patterns`: which messages are events, of which class;
//! - `nvidia`: Xid and SXid lines taken apart;
//! - `events`: the lines of a log folded into distinct events, what cleared them and what they are a consequence of;
//! - `codes`: what each Xid and SXid means;
//! - `nvlink5`: what the line of an Xid 144 to 150 says;
//! - `floors`: what a healthy GPU reaches at least under load;
//! - `messages`: what applications, tools and schedulers say.

mod codes;
mod events;
mod floors;
mod lines;
mod messages;
mod nvidia;
mod nvlink5;
mod patterns;
mod sieve;

pub use codes::{Class, Code, Recovery, Severity, sxid, sxid_codes, xid, xid_codes};
pub use events::{Choice, Event, Log, Reader, Scan, scan};
pub use floors::{Floors, floors};
pub use lines::{Parts, from_json, kmsg_microseconds, parts};
pub use messages::{Found, Message, messages, recognise};
pub use nvidia::{XidLine, address, xid_line};
pub use nvlink5::{Action, Look, Nvlink5, Rule, nvlink5};
pub use patterns::EventClass;
