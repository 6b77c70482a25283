//! The report as one page for a browser: it goes to whoever has to act. Nothing in it asks for anything elsewhere, and
//! it reads in full without its script, which only filters.

use super::fold::fold;
use super::words::{self, clipped};
use super::{ChecklistUsed, Report};
use crate::judge::{Item, Outcome, Status};
use crate::printable::is_obeyed;
use askama::Template;
use askama::filters::Escaper;
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");

/// The longest text that is shown, in characters. A line of a log may have millions.
const LONGEST: usize = 2000;

/// How many items are shown in full.
const ITEMS_IN_FULL: usize = 200;

/// From so many items on there is an overview of them.
const WORTH_AN_OVERVIEW: usize = 3;

/// How many items the overview has.
const GLANCES: usize = 20;

/// How many outcomes that an item explains are listed.
const EXPLAINED_LINES: usize = 200;

/// Makes every text that is put into the page safe: what HTML would obey as references, and what a page or a terminal
/// would obey (controls, marks that turn the direction of writing) written out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Safe;

impl Escaper for Safe {
    fn write_escaped_str<W: Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        let mut written = 0;
        for (at, c) in text.char_indices() {
            let reference = match c {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => "&quot;",
                '\'' => "&#39;",
                '\n' | '\t' => " ",
                c if c.is_ascii() && !c.is_ascii_control() => continue,
                c if is_obeyed(c) => "",
                _ => continue,
            };
            dest.write_str(&text[written..at])?;
            match reference {
                "" => write!(dest, "{}", c.escape_unicode())?,
                reference => dest.write_str(reference)?,
            }
            written = at + c.len_utf8();
        }
        dest.write_str(&text[written..])
    }
}

/// The report as an HTML page.
pub fn to_html(report: &Report) -> String {
    // Writing to a String fails for no template that compiled.
    Page::new(report).render().unwrap_or_default()
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'r> {
    css: &'static str,
    js: &'static str,
    css_hash: String,
    js_hash: String,
    report: &'r Report,
    name: String,
    identity: Vec<String>,
    verdict: String,
    severities: String,
    worst: &'static str,
    time: String,
    touched: String,
    notices: Vec<String>,
    /// What is well, in numbers, where nothing is to fix.
    well: String,
    glance: Vec<Glance>,
    glance_left_out: usize,
    items: Vec<ItemView<'r>>,
    more_items: Vec<ItemView<'r>>,
    facts: Vec<(&'static str, String)>,
    totals: String,
    statuses: Vec<(&'static str, usize)>,
    topics: Vec<Topic<'r>>,
    unknown: usize,
    root_hint: Option<String>,
    untold: Vec<(String, Vec<String>)>,
    waived: Vec<Row<'r>>,
    run: Vec<(&'static str, String)>,
    built_in: Vec<&'r ChecklistUsed>,
    /// The checklists that somebody added.
    own: Vec<&'r ChecklistUsed>,
}

/// A line for an item in the overview.
struct Glance {
    number: usize,
    severity: &'static str,
    title: String,
    who: Option<String>,
}

struct ItemView<'r> {
    number: usize,
    severity: &'static str,
    certainty: Option<String>,
    title: String,
    location: String,
    seen: Vec<String>,
    why: Option<String>,
    next: Vec<String>,
    who: Option<String>,
    explains: String,
    explained: Vec<Explained<'r>>,
    evidence: Vec<(String, String)>,
    check: &'r str,
    by_cause: bool,
    refs: &'r [String],
}

struct Explained<'r> {
    status: &'static str,
    check: &'r str,
    text: String,
}

struct Topic<'r> {
    title: &'r str,
    /// The checklist's name, where the title is something else.
    name: &'r str,
    /// Whether there is anything to see: it is shown open.
    found: bool,
    counts: Vec<(&'static str, usize)>,
    rows: Vec<Row<'r>>,
    /// What passed and what does not apply.
    quiet: Vec<Row<'r>>,
    /// That in numbers: `201 pass, 94 skipped`.
    rest: String,
}

/// Outcomes of one check that say the same.
struct Row<'r> {
    status: &'static str,
    /// How many outcomes.
    count: usize,
    check: &'r str,
    /// What was found, or the good state.
    text: String,
    /// The good state, where the text is something else; of a waived row the reason.
    good: String,
    subject: Option<String>,
    subjects_summary: String,
    subjects: Vec<String>,
    waived: Option<String>,
    explained_by: Vec<usize>,
    evidence: Vec<(String, String)>,
}

impl<'r> Page<'r> {
    fn new(report: &'r Report) -> Page<'r> {
        let mut items: Vec<ItemView> =
            report.items.iter().enumerate().map(|(place, item)| ItemView::new(place, item, report)).collect();
        // A few items are overview enough by themselves.
        let in_short = if items.len() >= WORTH_AN_OVERVIEW { items.len().min(GLANCES) } else { 0 };
        let glance = items.iter().take(in_short).map(|item| Glance {
            number: item.number,
            severity: item.severity,
            title: item.title.clone(),
            who: item.who.clone(),
        });
        let glance: Vec<Glance> = glance.collect();
        let glance_left_out = if in_short > 0 { items.len() - in_short } else { 0 };
        let more_items = items.split_off(items.len().min(ITEMS_IN_FULL));
        let unknown = report.outcomes.iter().filter(|outcome| outcome.status == Status::Unknown).count();
        let worst = match report.items.iter().map(|item| item.severity).max() {
            Some(severity) => severity.word(),
            None if unknown > 0 || report.run.cut_short.is_some() => "unknown",
            None => "pass",
        };
        let root_hint = (report.summary.denied > 0 && !report.run.as_root).then(|| match report.summary.denied {
            denied if denied == unknown => "A run as root would settle them.".to_string(),
            denied => format!("A run as root would settle {denied} of them."),
        });
        let waived = report.outcomes.iter().filter(|outcome| outcome.waived.is_some());
        Page {
            css: CSS,
            js: JS,
            css_hash: hash(CSS),
            js_hash: hash(JS),
            report,
            name: clip(words::name(&report.node)),
            identity: words::identity(&report.node).iter().map(|part| clip(part)).collect(),
            verdict: words::verdict(report),
            severities: words::severities(report),
            worst,
            time: words::time(report),
            touched: words::touched(report),
            notices: words::notices(report),
            well: well(report),
            glance,
            glance_left_out,
            items,
            more_items,
            facts: facts(report),
            totals: words::totals(report),
            statuses: counts(&report.outcomes.iter().collect::<Vec<_>>()),
            topics: topics(report),
            unknown,
            root_hint,
            untold: untold(report),
            waived: waived.map(Row::waived).collect(),
            run: run(report),
            built_in: report.checklists.iter().filter(|used| used.sha256.is_empty()).collect(),
            own: report.checklists.iter().filter(|used| !used.sha256.is_empty()).collect(),
        }
    }
}

/// What the Content-Security-Policy names a text by: its SHA-256 in base64 (RFC 4648).
fn hash(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = Sha256::digest(text.as_bytes());
    let mut base64 = String::new();
    for three in digest.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63] as char;
            base64.push(if place > three.len() { '=' } else { digit });
        }
    }
    base64
}

fn clip(text: &str) -> String {
    clipped(text, LONGEST).into_owned()
}

/// Values as a person reads them: a text without its quotes, anything else as JSON.
fn values(values: &Map<String, Json>) -> Vec<(String, String)> {
    let shown = |value: &Json| value.as_str().map_or_else(|| clip(&value.to_string()), clip);
    values.iter().map(|(name, value)| (clip(name), shown(value))).collect()
}

/// How many outcomes there are of each status, worst first; of none nothing.
fn counts(outcomes: &[&Outcome]) -> Vec<(&'static str, usize)> {
    let of = |status: Status| (status.word(), outcomes.iter().filter(|outcome| outcome.status == status).count());
    Status::ALL.into_iter().map(of).filter(|(_, count)| *count > 0).collect()
}

impl<'r> ItemView<'r> {
    fn new(place: usize, item: &'r Item, report: &'r Report) -> ItemView<'r> {
        let outcomes = || item.explains.iter().filter_map(|number| report.outcomes.get(*number));
        let explains = words::explains(item, report);
        let line = |outcome: &'r Outcome| Explained {
            status: outcome.status.word(),
            check: &outcome.check,
            text: clip(&outcome.message),
        };
        let explained =
            if explains.is_empty() { Vec::new() } else { outcomes().take(EXPLAINED_LINES).map(line).collect() };
        // Of an item that is one outcome, what it was judged by stands here; of others with their outcomes.
        let mut evidence = Vec::new();
        if item.check.is_some() {
            outcomes().for_each(|outcome| evidence.extend(values(&outcome.values)));
        }
        ItemView {
            number: place + 1,
            severity: item.severity.word(),
            certainty: item.certainty.map(words::word),
            title: clip(&item.title),
            location: clip(&item.location),
            seen: words::seen(item).into_iter().map(clip).collect(),
            why: item.why.as_deref().map(clip),
            next: item.next.iter().map(|step| clip(step)).collect(),
            who: item.who.map(words::word),
            explains: clip(&explains),
            explained,
            evidence,
            check: item.cause.as_deref().or(item.check.as_deref()).unwrap_or_default(),
            by_cause: item.cause.is_some(),
            refs: &item.refs,
        }
    }
}

fn topics(report: &Report) -> Vec<Topic<'_>> {
    let mut titles: Vec<&str> = report.checklists.iter().map(|used| used.name.as_str()).collect();
    let rest: BTreeSet<&str> = report.outcomes.iter().map(|outcome| outcome.checklist.as_str()).collect();
    titles.extend(rest.into_iter().filter(|name| !report.checklists.iter().any(|used| used.name == *name)));
    let explained: BTreeSet<usize> = report.items.iter().flat_map(|item| item.explains.iter().copied()).collect();
    let mut explained_by: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, item) in report.items.iter().enumerate() {
        for number in &item.explains {
            explained_by.entry(*number).or_default().push(place + 1);
        }
    }
    for (number, outcome) in report.outcomes.iter().enumerate().filter(|(_, one)| !one.explained_by.is_empty()) {
        explained_by.insert(number, outcome.explained_by.iter().map(|place| place + 1).collect());
    }
    let mut rows: BTreeMap<&str, Vec<(&Outcome, Row)>> = BTreeMap::new();
    for fold in fold(&report.outcomes, &explained) {
        let members: Vec<&Outcome> = fold.members.iter().map(|number| &report.outcomes[*number]).collect();
        let by = explained_by.remove(&fold.members[0]).unwrap_or_default();
        rows.entry(&fold.first.checklist).or_default().push((fold.first, Row::new(&members, by)));
    }
    let topic = |title| {
        let mut rows = rows.remove(title).unwrap_or_default();
        // Worst first, as in the punch list; within that in the order of the checklist.
        rows.sort_by_key(|(outcome, _)| std::cmp::Reverse(outcome.status));
        let bad = |outcome: &Outcome| matches!(outcome.status, Status::Critical | Status::Warning | Status::Unknown);
        let of = |status: Status| {
            let of_it = rows.iter().filter(|(outcome, _)| outcome.status == status);
            (status.word(), of_it.map(|(_, row)| row.count).sum())
        };
        let used = report.checklists.iter().find(|used| used.name == title && !used.title.is_empty());
        let found = rows.iter().any(|(outcome, _)| bad(outcome));
        let counts: Vec<(&'static str, usize)> =
            Status::ALL.into_iter().map(of).filter(|(_, count)| *count > 0).collect();
        let is_quiet = |status: &str| matches!(status, "pass" | "skipped");
        let rest: Vec<String> = counts
            .iter()
            .filter(|(status, _)| is_quiet(status))
            .map(|(status, count)| format!("{count} {status}"))
            .collect();
        let (quiet, rows) = rows.into_iter().map(|(_, row)| row).partition(|row: &Row| is_quiet(row.status));
        Topic {
            title: used.map_or(title, |used| &used.title),
            name: used.map_or("", |used| &used.name),
            found,
            counts,
            rows,
            quiet,
            rest: rest.join(", "),
        }
    };
    let mut topics: Vec<Topic> = titles.into_iter().map(topic).filter(|topic| !topic.counts.is_empty()).collect();
    // Where something was found first, where nothing applies last.
    topics.sort_by_key(|topic| (!topic.found, topic.counts.iter().all(|(status, _)| *status == "skipped")));
    topics
}

impl<'r> Row<'r> {
    fn new(members: &[&'r Outcome], explained_by: Vec<usize>) -> Row<'r> {
        let first = members[0];
        let several = members.len() > 1;
        let unanswered = first.status == Status::Unknown;
        let subject = |outcome: &Outcome| clip(&outcome.subject.to_string());
        let mut evidence = Vec::new();
        if !several {
            evidence.extend(values(&first.values));
        }
        Row {
            status: first.status.word(),
            count: members.len(),
            check: &first.check,
            // What was not answered is named by its question.
            text: clip(if unanswered { &first.title } else { &first.message }),
            good: match first.status {
                _ if unanswered => clip(&first.message),
                // A kept report has no more than the reason of what does not apply.
                Status::Skipped => String::new(),
                _ if first.title == first.message => String::new(),
                _ => clip(&first.title),
            },
            subject: (!several && first.subject.key.is_some()).then(|| subject(first)),
            subjects_summary: if several { subjects_summary(members) } else { String::new() },
            subjects: if several { members.iter().map(|outcome| subject(outcome)).collect() } else { Vec::new() },
            waived: words::waived(first).map(|waived| clip(&waived)),
            explained_by,
            evidence,
        }
    }

    fn waived(outcome: &'r Outcome) -> Row<'r> {
        let row = Row::new(&[outcome], Vec::new());
        Row { good: row.waived.clone().unwrap_or_default(), text: clip(&outcome.message), ..row }
    }
}

/// `8 × gpu`, `144 × link`
fn subjects_summary(members: &[&Outcome]) -> String {
    let kinds: BTreeSet<&str> = members.iter().map(|outcome| outcome.subject.kind.as_str()).collect();
    let kinds: Vec<&str> = kinds.into_iter().collect();
    clip(&format!("{} × {}", members.len(), kinds.join(", ")))
}

/// What could not be told: each reason once, with the checks that met it.
fn untold(report: &Report) -> Vec<(String, Vec<String>)> {
    let mut reasons: Vec<(&str, Vec<(&str, usize)>)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in report.outcomes.iter().filter(|outcome| outcome.status == Status::Unknown) {
        let place = *places.entry(&outcome.message).or_insert_with(|| {
            reasons.push((&outcome.message, Vec::new()));
            reasons.len() - 1
        });
        match reasons[place].1.last_mut() {
            Some((check, count)) if *check == outcome.check => *count += 1,
            _ => reasons[place].1.push((&outcome.check, 1)),
        }
    }
    let name = |(check, count): (&str, usize)| if count == 1 { check.into() } else { format!("{check} ×{count}") };
    reasons.into_iter().map(|(why, checks)| (clip(why), checks.into_iter().map(name).collect())).collect()
}

/// `776 of 1186 outcomes pass; 408 do not apply here.`
fn well(report: &Report) -> String {
    let count = |status: Status| report.summary.by_status.get(status.word()).copied().unwrap_or_default();
    let pass = format!("{} of {} outcomes pass", count(Status::Pass), report.summary.outcomes);
    match count(Status::Skipped) {
        0 => format!("{pass}."),
        skipped => format!("{pass}; {skipped} do not apply here."),
    }
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let node = &report.node;
    let gpus = words::gpus(node);
    let facts = [
        ("Name", node.name.clone()),
        ("Product", node.product.clone()),
        ("GPUs", Some(gpus.join(", ")).filter(|gpus| !gpus.is_empty())),
        ("NVIDIA driver", node.driver.clone()),
        ("System", node.os.clone()),
        ("Kernel", node.kernel.clone()),
        ("Architecture", node.architecture.clone()),
    ];
    facts.into_iter().filter_map(|(label, value)| Some((label, clip(&value?)))).collect()
}

fn run(report: &Report) -> Vec<(&'static str, String)> {
    let run = &report.run;
    let status = report.summary.exit_status;
    let means = match status {
        0 => ": nothing to fix",
        1 => ": something that warns",
        2 => ": something critical",
        3 => ": something could not be told, or the run was ended early",
        _ => "",
    };
    let mut rows = vec![
        ("Program", format!("{} {}", report.tool.name, report.tool.version)),
        ("Started", words::time(report)),
        ("Took", format!("{:.2} s", run.duration_ms / 1000.0)),
        ("Level", words::word(run.level)),
        ("As root", if run.as_root { "yes".into() } else { "no".into() }),
        ("Exit status", format!("{status}{means}")),
    ];
    if let Some(site) = &run.site {
        rows.push(("Site file", clip(&format!("{} ({})", site.file, site.name))));
    }
    let parameters = run.parameters.iter().map(|(name, value)| clip(&format!("{name} = {value}")));
    let parameters: Vec<String> = parameters.collect();
    if !parameters.is_empty() {
        rows.push(("Parameters", parameters.join("; ")));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_html_obeys_stays_alive() {
        let mut safe = String::new();
        Safe.write_escaped_str(&mut safe, "<a href=\"x\" b='y'>&\u{1b}[31m\u{202e}é\n日").unwrap();
        assert_eq!(safe, "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;\\u{1b}[31m\\u{202e}é 日");
    }

    #[test]
    fn the_policy_names_texts_as_browsers_do() {
        // From FIPS 180-2: the digest of "abc" is ba7816bf 8f01cfea 414140de 5dae2223 b00361a3 96177a9c b410ff61 f20015ad.
        assert_eq!(hash("abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }
}
