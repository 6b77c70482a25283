//! What several formats say in the same words.

use super::{Node, Report};
use crate::judge::{Item, Outcome, Status, WaiverUsed};
use crate::printable::counted;
use std::borrow::Cow;

/// The node's name.
pub(super) fn name(node: &Node) -> &str {
    node.name.as_deref().unwrap_or("a node without a name")
}

/// `7 × NVIDIA H100 80GB HBM3`, `1 × NVIDIA GH100`: the GPUs, most of one kind first.
pub(super) fn gpus(node: &Node) -> Vec<String> {
    let mut gpus: Vec<(&String, &usize)> = node.gpus.iter().collect();
    gpus.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    gpus.into_iter().map(|(name, count)| format!("{count} × {name}")).collect()
}

/// `8 × NVIDIA H100 80GB HBM3`, `driver 550.90.07`, `Ubuntu 22.04`, `kernel 5.15.0`: what a node is, name and time aside.
pub(super) fn identity(node: &Node) -> Vec<String> {
    let mut parts = gpus(node);
    parts.extend(node.driver.as_ref().map(|driver| format!("driver {driver}")));
    parts.extend(node.product.clone());
    parts.extend(node.os.clone());
    parts.extend(node.kernel.as_ref().map(|kernel| format!("kernel {kernel}")));
    parts
}

/// `2026-11-22 10:14:03 UTC`
pub(super) fn time(report: &Report) -> String {
    report.run.started.replace('T', " ").replace('Z', " UTC")
}

/// `nothing to fix`, `3 to fix`. That nothing was found says little where little could be told.
pub(super) fn verdict(report: &Report) -> String {
    let count = |status: Status| report.summary.by_status.get(status.word()).copied().unwrap_or(0);
    let unknown = count(Status::Unknown);
    match report.items.len() {
        0 if report.run.cut_short.is_some() || unknown > count(Status::Pass) => {
            format!("nothing to fix in what could be told; {unknown} of {} could not", report.summary.outcomes)
        }
        0 => "nothing to fix".into(),
        count => format!("{count} to fix"),
    }
}

/// `2 critical, 3 warnings`; empty where nothing is to fix.
pub(super) fn severities(report: &Report) -> String {
    let of = |status: Status| {
        let count = report.items.iter().filter(|item| item.severity == status).count();
        let many = if status == Status::Warning && count > 1 { "s" } else { "" };
        (count > 0).then(|| format!("{count} {}{many}", status.word()))
    };
    [Status::Critical, Status::Warning].into_iter().filter_map(of).collect::<Vec<_>>().join(", ")
}

/// What was done to the node.
pub(super) fn touched(report: &Report) -> String {
    let touched = match (report.run.recorded, report.run.loaded) {
        (true, _) => "A recording was judged; the node itself was not asked.",
        (false, true) => "Checks that load the node were allowed.",
        (false, false) => "The node was read, not put under load.",
    };
    // Whoever reads `host-3f9a04d1` has to know that this is no name.
    let redacted =
        "Names, addresses, serial numbers and secrets are replaced by pseudonyms; the site can look them up.";
    if report.redacted { format!("{touched} {redacted}") } else { touched.into() }
}

/// What ended the run early, as a sentence.
pub(super) fn cut_short(report: &Report) -> Option<String> {
    report.run.cut_short.as_ref().map(|by| format!("The run was ended early by {by}."))
}

/// Why the exit status is 3 though nothing is to fix, as a sentence.
fn untold(report: &Report) -> Option<String> {
    const NAMED: usize = 3;
    if !report.items.is_empty() || report.summary.exit_status != 3 {
        return None;
    }
    let is_untold = |outcome: &&Outcome| outcome.status == Status::Unknown && outcome.waived.is_none();
    let untold: Vec<&str> = report.outcomes.iter().filter(is_untold).map(|outcome| outcome.check.as_str()).collect();
    let mut checks = untold.clone();
    checks.dedup();
    let more = match checks.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {}", counted(more, "other check", "other checks")),
    };
    checks.truncate(NAMED);
    (!untold.is_empty()).then(|| {
        let number = counted(untold.len(), "outcome", "outcomes");
        format!("The exit status is 3, since {number} could not be told: {}{more}. --all says why.", checks.join(", "))
    })
}

/// What a person should know of how the run came about, a sentence each: that it was ended early, what could not be
/// told where nothing else was found, what became of the site's waivers, what a scheduler was told.
pub(super) fn notices(report: &Report) -> Vec<String> {
    let mut notices: Vec<String> = cut_short(report).into_iter().chain(untold(report)).collect();
    let waivers = || report.run.site.iter().flat_map(|site| &site.waivers);
    for WaiverUsed { check, reason, until, .. } in waivers().filter(|waiver| waiver.expired) {
        notices.push(format!("The waiver for {check} ran out on {until} ({reason})."));
    }
    let idle: Vec<&WaiverUsed> = waivers().filter(|waiver| !waiver.expired && waiver.waives == 0).collect();
    match idle.as_slice() {
        [] => {}
        [WaiverUsed { check, reason, until, .. }] => {
            notices.push(format!("The waiver for {check} until {until} has nothing to waive here ({reason})."));
        }
        several => {
            let checks: Vec<&str> = several.iter().map(|waiver| waiver.check.as_str()).collect();
            notices.push(format!("{} waivers have nothing to waive here: {}.", several.len(), checks.join(", ")));
        }
    }
    notices.extend(report.run.handoff.as_ref().map(|handoff| handoff.detail.clone()));
    notices
}

/// The word for one of an enum's few values, as JSON has it: `operator`, `likely`.
pub(super) fn word<W: std::fmt::Debug>(value: W) -> String {
    format!("{value:?}").to_lowercase()
}

/// What was seen, for a person: the title often says it all, and long formulas only get in the way of an author's own
/// words; the JSON has them all.
pub(super) fn seen(item: &Item) -> Vec<&str> {
    /// The longest explanation that is shown beside an author's own words, in bytes.
    const LONG: usize = 110;
    let by_cause = item.cause.is_some();
    let worth =
        |seen: &&String| **seen != item.title && (by_cause || item.title.contains(seen.as_str()) || seen.len() <= LONG);
    item.seen.iter().filter(worth).map(String::as_str).collect()
}

/// The checks whose outcomes an item explains, with how many outcomes of each: `gpu.present`, `nvlink.active ×18`.
/// Empty for an item that is but one outcome itself.
pub(super) fn explained(item: &Item, report: &Report) -> Vec<String> {
    if item.check.is_some() {
        return Vec::new();
    }
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for outcome in item.explains.iter().filter_map(|number| report.outcomes.get(*number)) {
        match counts.iter_mut().find(|(check, _)| *check == outcome.check) {
            Some((_, count)) => *count += 1,
            None => counts.push((&outcome.check, 1)),
        }
    }
    let name = |(check, count): (&str, usize)| if count == 1 { check.into() } else { format!("{check} ×{count}") };
    counts.into_iter().map(name).collect()
}

/// `21 outcomes: gpu.present, nvlink.active ×18, slurm.gres`; empty where nothing is explained. Of more checks than a
/// person reads, the rest is counted.
pub(super) fn explains(item: &Item, report: &Report) -> String {
    const MOST: usize = 24;
    let mut names = explained(item, report);
    if names.is_empty() {
        return String::new();
    }
    if names.len() > MOST {
        let more = names.split_off(MOST - 1).len();
        names.push(format!("and {more} other checks"));
    }
    format!("{}: {}", counted(item.explains.len(), "outcome", "outcomes"), names.join(", "))
}

/// `waived until 2026-12-31: the part is ordered`
pub(super) fn waived(outcome: &Outcome) -> Option<String> {
    let waived = outcome.waived.as_ref()?;
    let until = if waived.until.is_empty() { String::new() } else { format!(" until {}", waived.until) };
    Some(format!("waived{until}: {}", waived.reason))
}

/// `478 pass`, `3 unknown: run as root to settle them`, …: the outcomes by status.
pub(super) fn counts(report: &Report) -> Vec<String> {
    let summary = &report.summary;
    let mut parts = Vec::new();
    for status in [Status::Pass, Status::Critical, Status::Warning, Status::Info, Status::Unknown, Status::Skipped] {
        let Some(count) = summary.by_status.get(status.word()) else { continue };
        let root = match summary.denied {
            0 => String::new(),
            _ if status != Status::Unknown || report.run.as_root => String::new(),
            denied if denied == *count => ": run as root to settle them".to_string(),
            denied => format!(": run as root to settle {denied} of them"),
        };
        parts.push(format!("{count} {}{root}", status.word()));
    }
    match report.outcomes.iter().filter(|outcome| outcome.waived.is_some()).count() {
        0 => {}
        count => parts.push(format!("{count} waived")),
    }
    parts
}

/// `512 outcomes of 227 checks`
pub(super) fn totals(report: &Report) -> String {
    let summary = &report.summary;
    format!("{} of {}", counted(summary.outcomes, "outcome", "outcomes"), counted(summary.checks, "check", "checks"))
}

/// The text, or its beginning where it is longer than `most` characters, saying so.
pub(super) fn clipped(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some((at, _)) => format!("{} … (cut here; it has {} characters)", &text[..at], text.chars().count()).into(),
    }
}
