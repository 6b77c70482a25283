//! What a person may mean: by name, by code, by what was said, and last by words.

use super::super::probes;
use crate::checklist::scope::is_like;
use crate::checklist::{Argument, Cause, Check, Checklist, Checklists, Param, Placed, Severity};
use crate::expression::{Expression, Text};
use crate::knowledge::{self, Code, Found, Message};
use crate::probe::{PROBES, Probe};
use regex::Regex;
use std::collections::BTreeSet;

/// What is shown of one thing. The keys are those of the JSON; a person reads them as labels.
#[derive(Clone)]
pub(super) struct Page {
    /// check, cause, parameter, probe, checklist, xid, sxid or message.
    pub kind: &'static str,
    /// How to ask for it again.
    pub id: String,
    /// What it is, in a few words.
    pub title: String,
    /// How bad it is, where that can be said.
    pub severity: Option<&'static str>,
    /// The rest.
    pub rows: Vec<(&'static str, Row)>,
}

/// One row of a page.
#[derive(Clone)]
pub(super) enum Row {
    Text(String),
    /// A word that programs compare.
    Word(String),
    Number(u32),
    List(Vec<String>),
    /// In this order.
    Steps(Vec<String>),
    /// Ids and titles.
    Named(Vec<(String, String)>),
    /// Text that is laid out already.
    Block(String),
}

/// What was found.
#[derive(Default)]
pub(super) struct Answer {
    /// Shown whole.
    pub pages: Vec<Page>,
    /// Whether the pages are different things that the same word can mean.
    pub is_ambiguous: bool,
    /// Shown as a list: what matches a pattern or words, or more than is shown whole.
    pub list: Vec<Page>,
    /// How to ask for what was probably meant.
    pub near: Vec<String>,
    /// What a person should know of how the question was understood, or why there is no answer.
    pub note: Option<String>,
}

impl Answer {
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.list.is_empty()
    }
}

/// How many pages are shown whole.
const MOST_PAGES: usize = 6;

/// How many are listed.
const MOST_LISTED: usize = 40;

/// Searching by words is for what somebody typed, not for what somebody pasted.
const MOST_WORDS: usize = 8;

pub(super) fn find(asked: &str, checklists: &Checklists) -> Answer {
    let asked = asked.trim();
    let all = All { checklists };
    let one_word = !asked.contains(char::is_whitespace);
    if one_word {
        let word = asked.trim_matches(['`', '"', '\'', ',', '.', ';']);
        if let Some(answer) = all.by_name(word) {
            return answer;
        }
    }
    if let Some(number) = typed_number(asked) {
        return all.by_number(number);
    }
    let mut answer = Answer { pages: all.by_code(asked), ..Answer::default() };
    // What the driver's own lines say is said by their codes.
    let rest: String =
        asked.lines().filter(|line| !CODE.with(|code| code.is_match(line))).collect::<Vec<_>>().join("\n");
    answer.pages.extend(all.named_in(asked));
    answer.pages.extend(knowledge::recognise(&rest).iter().map(|found| all.message(found)));
    if answer.pages.len() > MOST_PAGES {
        answer.list = answer.pages.split_off(MOST_PAGES);
        answer.list.truncate(MOST_LISTED);
    }
    if !answer.is_empty() {
        return answer;
    }
    let unknown = CODE.with(|code| {
        code.captures(asked).map(|found| {
            let (kind, known) = match found[1].to_lowercase().as_str() {
                "sxid" => ("SXid", range(knowledge::sxid_codes())),
                _ => ("Xid", range(knowledge::xid_codes())),
            };
            format!("there is no {kind} {} in NVIDIA's lists, which go {known}", &found[2])
        })
    });
    if unknown.is_some() {
        return Answer { note: unknown, ..Answer::default() };
    }
    all.by_words(asked)
}

fn range(codes: impl Iterator<Item = u32>) -> String {
    let codes: Vec<u32> = codes.collect();
    let ends = codes.first().zip(codes.last());
    ends.map(|(first, last)| format!("from {first} to {last}")).unwrap_or_default()
}

thread_local! {
    /// `xid:79`, `Xid 79`, `NVRM: Xid (PCI:0000:9c:00): 79, …`, `SXid (PCI:0000:c5:00.0): 20034, …`, `previous Xid 149`.
    static CODE: Regex = Regex::new(r"(?i)\b(s?xid)s?\b[\s:=#-]{0,3}(?:\([^)\n]{0,40}\)\s?:?\s?)?(\d{1,6})\b")
        .expect("a constant is a regular expression");
}

/// `79`, `error 79`, `code 79`
fn typed_number(asked: &str) -> Option<u32> {
    let last = asked.split_whitespace().next_back()?;
    let number = last.parse().ok()?;
    let before = asked[..asked.len() - last.len()].trim().to_lowercase();
    matches!(before.as_str(), "" | "#" | "code" | "error" | "error code" | "err").then_some(number)
}

struct All<'c> {
    checklists: &'c Checklists,
}

impl All<'_> {
    fn causes(&self) -> impl Iterator<Item = (&Checklist, &Cause)> {
        self.checklists.all.iter().flat_map(|checklist| checklist.causes.iter().map(move |cause| (checklist, cause)))
    }

    fn params(&self) -> impl Iterator<Item = (&Checklist, &Param)> {
        self.checklists.all.iter().flat_map(|checklist| checklist.params.iter().map(move |param| (checklist, param)))
    }

    /// Things that are called so, or whose names begin so.
    fn by_name(&self, word: &str) -> Option<Answer> {
        let (kind, name) = match word.split_once(':') {
            Some((kind @ ("check" | "cause" | "probe" | "parameter" | "param" | "checklist"), name)) => (kind, name),
            _ => ("", word),
        };
        let number = |prefix: &str| {
            let rest = word.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix))?;
            word[rest.len()..].parse::<u32>().ok()
        };
        if let Some(message) = number("cuda:").and_then(of_cuda) {
            return Some(Answer { pages: vec![self.message(&message)], ..Answer::default() });
        }
        let name = name.strip_prefix("params.").unwrap_or(name).to_lowercase();
        let is =
            |kinds: &[&str], id: &str| (kind.is_empty() || kinds.contains(&kind)) && id.eq_ignore_ascii_case(&name);
        let mut pages = Vec::new();
        pages.extend(
            self.checklists
                .checks()
                .filter(|(_, check)| is(&["check"], &check.id.text))
                .map(|(checklist, check)| self.check(checklist, check)),
        );
        pages.extend(
            self.causes()
                .filter(|(_, cause)| is(&["cause"], &cause.id.text))
                .map(|(checklist, cause)| self.cause(checklist, cause)),
        );
        pages.extend(
            self.params()
                .filter(|(_, param)| is(&["param", "parameter"], &param.name.text))
                .map(|(checklist, param)| self.param(checklist, param)),
        );
        pages.extend(PROBES.iter().filter(|probe| is(&["probe"], probe.name)).map(|probe| self.probe(probe)));
        let lists = self.checklists.all.iter().filter(|checklist| is(&["checklist"], &checklist.name.text));
        pages.extend(lists.map(|checklist| self.checklist(checklist)));
        if !pages.is_empty() {
            let is_ambiguous = pages.len() > 1;
            return Some(Answer { pages, is_ambiguous, ..Answer::default() });
        }
        // A branch of the tree of ids, with or without its star.
        let pattern = if name.contains('*') { name.clone() } else { format!("{}.*", name.trim_end_matches('.')) };
        let mut list: Vec<Page> = Vec::new();
        list.extend(
            self.checklists
                .checks()
                .filter(|(_, check)| is_like(&check.id.text, &pattern))
                .map(|(checklist, check)| self.check(checklist, check)),
        );
        list.extend(
            self.causes()
                .filter(|(_, cause)| is_like(&cause.id.text, &pattern))
                .map(|(checklist, cause)| self.cause(checklist, cause)),
        );
        match list.len() {
            0 => None,
            1 => Some(Answer { pages: list, ..Answer::default() }),
            _ => Some(Answer { list, ..Answer::default() }),
        }
    }

    /// All that this number can be.
    fn by_number(&self, number: u32) -> Answer {
        let mut pages = Vec::new();
        pages.extend(knowledge::xid(number).map(|code| self.code("xid", &code, None)));
        pages.extend(knowledge::sxid(number).map(|code| self.code("sxid", &code, None)));
        pages.extend(of_cuda(number).map(|found| self.message(&found)));
        let is_ambiguous = pages.len() > 1;
        let note = match pages.as_slice() {
            [] => Some(
                "a number alone says little; give the words around it, or write xid:79, sxid:20034, cuda:802".into(),
            ),
            [page] => Some(format!("{number} alone could be anything; this is {}.", page.id)),
            _ => None,
        };
        Answer { pages, is_ambiguous, note, ..Answer::default() }
    }

    /// The codes in a text, each once: the first line that has it.
    fn by_code(&self, asked: &str) -> Vec<Page> {
        let mut seen = BTreeSet::new();
        let mut pages = Vec::new();
        for line in asked.lines() {
            let found = CODE.with(|code| {
                let found = code.captures_iter(line).map(|found| (found[1].to_lowercase(), found[2].to_string()));
                found.collect::<Vec<_>>()
            });
            for (which, number) in found {
                let Ok(number) = number.parse() else { continue };
                let (kind, code) = match which.as_str() {
                    "sxid" => ("sxid", knowledge::sxid(number)),
                    _ => ("xid", knowledge::xid(number)),
                };
                // Lines of one code can say different things; those of NVLink do.
                let nvlink = (144..=150).contains(&number).then(|| line.trim().to_string());
                if let Some(code) = code
                    && seen.insert((kind, number, nvlink))
                {
                    pages.push(self.code(kind, &code, Some(line.trim())));
                }
            }
        }
        // What is only a consequence comes after what it follows from.
        pages.sort_by_key(|page| page.id == "xid:45" || page.id == "xid:154");
        pages
    }

    /// Checks and causes whose ids stand in a text.
    fn named_in(&self, asked: &str) -> Vec<Page> {
        let words: BTreeSet<&str> = asked
            .split(|c: char| {
                c.is_whitespace() || matches!(c, ',' | ';' | ':' | '`' | '\'' | '"' | '(' | ')' | '[' | ']')
            })
            .map(|word| word.trim_end_matches('.'))
            .filter(|word| word.contains('.'))
            .collect();
        let named = |id: &str| words.contains(id);
        let mut pages: Vec<Page> = Vec::new();
        pages.extend(
            self.checklists
                .checks()
                .filter(|(_, check)| named(&check.id.text))
                .map(|(checklist, check)| self.check(checklist, check)),
        );
        pages.extend(
            self.causes()
                .filter(|(_, cause)| named(&cause.id.text))
                .map(|(checklist, cause)| self.cause(checklist, cause)),
        );
        pages
    }

    /// What all of these words are said of; with a misspelt word, what it was probably meant to be.
    fn by_words(&self, asked: &str) -> Answer {
        const EVERYDAY: &[&str] = &[
            "a", "an", "the", "of", "is", "are", "was", "in", "on", "at", "to", "my", "and", "or", "it", "what", "why",
            "how", "does", "mean", "means", "do", "i", "for", "with",
        ];
        let mut wanted = split(asked);
        wanted.retain(|word| !EVERYDAY.contains(&word.as_str()));
        if wanted.is_empty() || wanted.len() > MOST_WORDS {
            return Answer::default();
        }
        let entries = self.entries();
        // A name that is not known is mistyped, and not a question about the words in it.
        let is_name = !asked.contains(char::is_whitespace) && asked.trim_end_matches('.').contains('.');
        let found = if is_name { Vec::new() } else { search(&entries, &wanted) };
        match found.as_slice() {
            [] => {}
            [only] => return Answer { pages: vec![self.page(&only.thing)], ..Answer::default() },
            several => {
                let list = several.iter().map(|entry| entry.brief.clone()).collect();
                return Answer { list, ..Answer::default() };
            }
        }
        // Names first, as they are typed most; then the words of everything.
        let names = self.names();
        let mut near: Vec<(f64, &String)> = names
            .iter()
            .map(|name| (strsim::normalized_damerau_levenshtein(name, &asked.to_lowercase()), name))
            .filter(|(alike, _)| *alike >= 0.7)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut near: Vec<String> = near.into_iter().take(3).map(|(_, name)| name.clone()).collect();
        if near.is_empty() {
            let vocabulary: BTreeSet<&str> = entries
                .iter()
                .flat_map(|entry| entry.words.iter().map(String::as_str))
                .filter(|word| word.len() >= 4)
                .collect();
            let mended: Vec<String> = wanted.iter().map(|word| mended(word, &vocabulary)).collect();
            if mended != wanted && !search(&entries, &mended).is_empty() {
                near.push(format!("\"{}\"", mended.join(" ")));
            }
        }
        Answer { near, ..Answer::default() }
    }

    fn names(&self) -> Vec<String> {
        let checks = self.checklists.checks().map(|(_, check)| check.id.text.clone());
        let causes = self.causes().map(|(_, cause)| cause.id.text.clone());
        let params = self.params().map(|(_, param)| param.name.text.clone());
        let lists = self.checklists.all.iter().map(|checklist| checklist.name.text.clone());
        let probes = PROBES.iter().map(|probe| probe.name.to_string());
        checks.chain(causes).chain(params).chain(lists).chain(probes).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Everything, with the words that it is found by.
    fn entries(&self) -> Vec<Entry<'_>> {
        let mut entries = Vec::new();
        let mut add = |thing, kind: &'static str, id: String, title: &str, more: &str| {
            let words = split(&format!("{id} {title} {more}")).into_iter().collect();
            let brief = Page { kind, id, title: title.to_string(), severity: None, rows: Vec::new() };
            entries.push(Entry { words, brief, thing });
        };
        for (checklist, check) in self.checklists.checks() {
            let more = check.tags.join(" ");
            add(Thing::Check(checklist, check), "check", check.id.text.clone(), &check.title.text, &more);
        }
        for (checklist, cause) in self.causes() {
            let more = cause.tags.join(" ");
            add(Thing::Cause(checklist, cause), "cause", cause.id.text.clone(), &cause.title.text, &more);
        }
        let xids = knowledge::xid_codes().filter_map(knowledge::xid).map(|code| ("xid", code));
        let sxids = knowledge::sxid_codes().filter_map(knowledge::sxid).map(|code| ("sxid", code));
        for (kind, code) in xids.chain(sxids) {
            let (id, name, more) =
                (format!("{kind}:{}", code.code), code.name.clone(), code.mnemonic.replace('_', " "));
            add(Thing::Code(kind, code), kind, id, &name, &more);
        }
        for message in knowledge::messages() {
            let more = format!("{} {}", message.from, message.says.join(" "));
            let (id, title) = (message_id(&message), message.title.clone());
            add(Thing::Message(Found { message, line: String::new() }), "message", id, &title, &more);
        }
        for (checklist, param) in self.params() {
            add(Thing::Param(checklist, param), "parameter", param.name.text.clone(), &param.about, "");
        }
        for probe in PROBES {
            let title = probes::about(&self.checklists.schemas, probe);
            add(Thing::Probe(probe), "probe", probe.name.to_string(), &title, "");
        }
        entries
    }

    fn page(&self, thing: &Thing) -> Page {
        match thing {
            Thing::Check(checklist, check) => self.check(checklist, check),
            Thing::Cause(checklist, cause) => self.cause(checklist, cause),
            Thing::Code(kind, code) => self.code(kind, code, None),
            Thing::Message(found) => self.message(found),
            Thing::Param(checklist, param) => self.param(checklist, param),
            Thing::Probe(probe) => self.probe(probe),
        }
    }

    fn check(&self, checklist: &Checklist, check: &Check) -> Page {
        let mut rows = Vec::new();
        let texts = |list: &[Placed<Text>]| list.iter().map(|text| text.text.clone()).collect::<Vec<_>>();
        let loops = check.for_each.iter().map(|one| format!("each {} of {}", one.name.text, one.list.text)).collect();
        push(&mut rows, "of", Row::List(loops));
        let expects = check.expect.iter().map(|(severity, expression)| {
            format!("{} unless {}", severity_word(*severity), one_line(&expression.text))
        });
        push(&mut rows, "expects", Row::List(expects.collect()));
        let conditions = checklist.applies.iter().chain(&check.when).map(|condition| one_line(&condition.text));
        push(&mut rows, "when", Row::List(conditions.collect()));
        push(&mut rows, "needs", Row::Named(self.titled(check.needs.iter().map(|need| need.text.as_str()))));
        let expressions = expressions_of_check(check);
        let mut reads: Vec<String> = PROBES
            .iter()
            .filter(|probe| probe.arguments.is_none() && expressions.iter().any(|one| one.reads(probe.name)))
            .map(|probe| probe.name.to_string())
            .collect();
        reads.extend(check.observe.iter().map(|ask| {
            let arguments =
                ask.arguments.iter().map(|(name, argument)| format!("{}: {}", name.text, argument_text(argument)));
            format!("{} {{ {} }}", ask.probe.name, arguments.collect::<Vec<_>>().join(", "))
        }));
        push(&mut rows, "reads", Row::List(reads));
        push(&mut rows, "parameters", Row::List(self.parameters(&expressions)));
        push(&mut rows, "found", Row::List(texts(check.found.as_slice())));
        push(&mut rows, "why", Row::List(texts(check.why.as_slice())));
        push(&mut rows, "next", Row::Steps(texts(&check.next)));
        push(&mut rows, "who", Row::Word(check.who.map(|who| format!("{who:?}").to_lowercase()).unwrap_or_default()));
        let causes = self.causes().filter(|(_, cause)| cause.may_explain_check(&check.id.text));
        push(
            &mut rows,
            "causes",
            Row::Named(causes.map(|(_, cause)| (cause.id.text.clone(), cause.title.text.clone())).collect()),
        );
        push(&mut rows, "more", Row::List(check.refs.clone()));
        push(&mut rows, "tags", Row::List(check.tags.clone()));
        push(&mut rows, "level", Row::Word(format!("{:?}", check.level).to_lowercase()));
        push(&mut rows, "effect", Row::Word(format!("{:?}", check.effect).to_lowercase()));
        push(&mut rows, "from", Row::Word(checklist.file.name.clone()));
        let worst = check.expect.iter().map(|(severity, _)| *severity).max();
        Page {
            kind: "check",
            id: check.id.text.clone(),
            title: check.title.text.clone(),
            severity: worst.map(severity_word),
            rows,
        }
    }

    fn cause(&self, checklist: &Checklist, cause: &Cause) -> Page {
        let mut rows = Vec::new();
        let texts = |list: &[Placed<Text>]| list.iter().map(|text| text.text.clone()).collect::<Vec<_>>();
        push(&mut rows, "certainty", Row::Word(format!("{:?}", cause.certainty).to_lowercase()));
        let loops = cause.for_each.iter().map(|one| format!("each {} of {}", one.name.text, one_line(&one.list.text)));
        push(&mut rows, "of", Row::List(loops.collect()));
        push(&mut rows, "when", Row::List(cause.when.iter().map(|when| one_line(&when.text)).collect()));
        let subject = cause.subject.iter().map(|(_, key)| one_line(&key.text)).collect();
        push(&mut rows, "subject", Row::List(subject));
        push(&mut rows, "seen", Row::List(texts(&cause.seen)));
        push(&mut rows, "why", Row::List(texts(cause.why.as_slice())));
        push(&mut rows, "next", Row::Steps(texts(&cause.next)));
        push(&mut rows, "who", Row::Word(cause.who.map(|who| format!("{who:?}").to_lowercase()).unwrap_or_default()));
        let explained: Vec<String> = cause.explains.iter().map(|one| one.text.clone()).collect();
        push(&mut rows, "explains", Row::List(explained));
        push(&mut rows, "more", Row::List(cause.refs.clone()));
        push(&mut rows, "tags", Row::List(cause.tags.clone()));
        push(&mut rows, "from", Row::Word(checklist.file.name.clone()));
        Page { kind: "cause", id: cause.id.text.clone(), title: cause.title.text.clone(), severity: None, rows }
    }

    fn param(&self, checklist: &Checklist, param: &Param) -> Page {
        let mut rows = Vec::new();
        push(&mut rows, "type", Row::Word(format!("{:?}", param.kind).to_lowercase()));
        let default = param.default.as_ref().map(|default| one_line(&default.text));
        push(
            &mut rows,
            "default",
            Row::Text(default.unwrap_or_else(|| "none: checks that read it are skipped until it is set".into())),
        );
        push(&mut rows, "set", Row::Text(format!("--set {}=VALUE", param.name.text)));
        let readers = self.checklists.checks().filter(|(_, check)| {
            expressions_of_check(check).iter().any(|one| one.parameters().any(|name| name == param.name.text))
        });
        push(
            &mut rows,
            "checks",
            Row::Named(readers.map(|(_, check)| (check.id.text.clone(), check.title.text.clone())).collect()),
        );
        push(&mut rows, "from", Row::Word(checklist.file.name.clone()));
        Page { kind: "parameter", id: param.name.text.clone(), title: param.about.clone(), severity: None, rows }
    }

    fn probe(&self, probe: &Probe) -> Page {
        let schemas = &self.checklists.schemas;
        let rows = vec![("answers", Row::Block(probes::fields_of(schemas, probe)))];
        Page { kind: "probe", id: probe.name.into(), title: probes::about(schemas, probe), severity: None, rows }
    }

    fn checklist(&self, checklist: &Checklist) -> Page {
        let mut rows = Vec::new();
        push(&mut rows, "about", Row::Text(checklist.about.clone()));
        push(&mut rows, "when", Row::List(checklist.applies.iter().map(|applies| one_line(&applies.text)).collect()));
        let checks = checklist.checks.iter().map(|check| (check.id.text.clone(), check.title.text.clone()));
        push(&mut rows, "checks", Row::Named(checks.collect()));
        let causes = checklist.causes.iter().map(|cause| (cause.id.text.clone(), cause.title.text.clone()));
        push(&mut rows, "causes", Row::Named(causes.collect()));
        push(
            &mut rows,
            "parameters",
            Row::List(checklist.params.iter().map(|param| param.name.text.clone()).collect()),
        );
        push(&mut rows, "from", Row::Word(checklist.file.name.clone()));
        Page {
            kind: "checklist",
            id: checklist.name.text.clone(),
            title: checklist.title.clone(),
            severity: None,
            rows,
        }
    }

    /// A code, and what the line that it stands in says besides.
    fn code(&self, kind: &'static str, code: &Code, line: Option<&str>) -> Page {
        let mut rows = vec![("code", Row::Number(code.code))];
        let line = line.filter(|line| line.contains('('));
        push(&mut rows, "said", Row::Text(line.unwrap_or_default().to_string()));
        push(&mut rows, "means", Row::Text(code.meaning.clone()));
        let decoded = line.and_then(|line| knowledge::nvlink5(code.code, line)).filter(|_| kind == "xid");
        let (mut severity, mut next) = (code.severity, code.next.clone());
        if let Some(nvlink) = &decoded {
            severity = nvlink.severity;
            let link = nvlink.link.map(|link| format!(", link {link}")).unwrap_or_default();
            let word = if nvlink.is_fatal { "fatal" } else { "not fatal" };
            push(&mut rows, "this_line", Row::Text(format!("Unit {}{link}: {word}.", nvlink.unit)));
            match &nvlink.rule {
                Some(rule) => {
                    let lost = if rule.only_link { "; only the link is lost" } else { "" };
                    push(&mut rows, "origin", Row::Text(format!("{}{lost}", rule.origin)));
                    next = vec![rule.action.text().into(), rule.look.text().into()];
                }
                None => push(
                    &mut rows,
                    "origin",
                    Row::Text(
                        "NVIDIA's table has no rule for these numbers; the word Fatal or Nonfatal counts.".into(),
                    ),
                ),
            }
        } else if kind == "sxid"
            && let Some(is_fatal) = line.and_then(fatal)
        {
            let text = if is_fatal {
                "Fatal: programs behind it were ended."
            } else {
                "Non-fatal: it went on; that outranks the number."
            };
            push(&mut rows, "this_line", Row::Text(text.into()));
            severity =
                if is_fatal { knowledge::Severity::Critical } else { severity.min(knowledge::Severity::Warning) };
        } else {
            push(&mut rows, "the_line", Row::Text(code.line.clone().unwrap_or_default()));
        }
        push(&mut rows, "class", Row::Word(code.class.words().into()));
        push(&mut rows, "hits", Row::Word(code.scope.clone().filter(|scope| scope != "none").unwrap_or_default()));
        push(&mut rows, "next", Row::Steps(next));
        push(&mut rows, "mended_by", Row::Text(code.recovery.words().unwrap_or_default().into()));
        push(&mut rows, "who", Row::Word(code.who.clone()));
        push(&mut rows, "checks", Row::Named(self.titled(code.checks.iter().map(String::as_str))));
        let named = self.causes().filter(|(_, cause)| looks_for(cause, kind, code.code));
        push(
            &mut rows,
            "causes",
            Row::Named(named.map(|(_, cause)| (cause.id.text.clone(), cause.title.text.clone())).collect()),
        );
        push(&mut rows, "called", Row::Word(code.mnemonic.clone()));
        let says: Vec<String> = code.says.iter().map(|(source, said)| format!("{source}: {said}")).collect();
        push(&mut rows, if code.is_disputed() { "sources_differ" } else { "sources_say" }, Row::List(says));
        push(&mut rows, "sources", Row::List(code.source.clone()));
        Page {
            kind,
            id: format!("{kind}:{}", code.code),
            title: code.name.clone(),
            severity: Some(severity.word()),
            rows,
        }
    }

    fn message(&self, found: &Found) -> Page {
        let message = &found.message;
        let mut rows = Vec::new();
        push(&mut rows, "said", Row::Text(found.line.clone()));
        push(&mut rows, "means", Row::Text(message.means.clone()));
        push(&mut rows, "behind_it", Row::Steps(message.causes.clone()));
        push(&mut rows, "next", Row::Steps(message.next.clone()));
        push(&mut rows, "who", Row::Word(message.who.clone()));
        push(&mut rows, "checks", Row::Named(self.titled(message.checks.iter().map(String::as_str))));
        push(&mut rows, "from", Row::Word(message.from.clone()));
        push(&mut rows, "more", Row::List(vec![message.source.clone()]));
        let id = message_id(message);
        Page { kind: "message", id, title: message.title.clone(), severity: None, rows }
    }

    /// These ids with their titles. A site may have put its own checklist in the place of ours: what is not there is left out.
    fn titled<'i>(&self, ids: impl Iterator<Item = &'i str>) -> Vec<(String, String)> {
        ids.filter_map(|id| {
            let (_, check) = self.checklists.checks().find(|(_, check)| check.id.text == id)?;
            Some((id.to_string(), check.title.text.clone()))
        })
        .collect()
    }

    /// The parameters that are read, with what they mean.
    fn parameters(&self, expressions: &[&Expression]) -> Vec<String> {
        let names: BTreeSet<&str> = expressions.iter().flat_map(|one| one.parameters()).collect();
        let read = self.params().filter(|(_, param)| names.contains(param.name.text.as_str()));
        read.map(|(_, param)| {
            let default = param.default.as_ref().map(|default| format!(" (default {})", one_line(&default.text)));
            format!("{}{}: {}", param.name.text, default.unwrap_or_default(), param.about)
        })
        .collect()
    }
}

/// Whether a cause begins with events of this code.
fn looks_for(cause: &Cause, kind: &str, code: u32) -> bool {
    let expressions = cause.for_each.iter().map(|one| &one.list.text).chain(cause.when.iter().map(|when| &when.text));
    let text = expressions.map(String::as_str).collect::<Vec<_>>().join(" ");
    // What must not be there is no reason to look.
    let wanted = text.split("!kernel_log").enumerate().map(|(at, part)| match part.split_once(')') {
        Some((_, rest)) if at > 0 => rest,
        _ => part,
    });
    let numbers = wanted.flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric()));
    text.contains(&format!("kernel_log.{kind}s"))
        && numbers.filter_map(|word| word.parse().ok()).any(|one: u32| one == code)
}

/// Something that can be explained.
enum Thing<'c> {
    Check(&'c Checklist, &'c Check),
    Cause(&'c Checklist, &'c Cause),
    Code(&'static str, Code),
    Message(Found),
    Param(&'c Checklist, &'c Param),
    Probe(&'c Probe),
}

/// A thing, and the words that it is found by.
struct Entry<'c> {
    thing: Thing<'c>,
    /// Its page without rows.
    brief: Page,
    words: BTreeSet<String>,
}

/// The entries of which all these words are said, those first that say them in their name or title.
fn search<'e, 'c>(entries: &'e [Entry<'c>], wanted: &[String]) -> Vec<&'e Entry<'c>> {
    let said = |entry: &Entry, word: &String| {
        entry.words.contains(word) || (word.len() >= 4 && entry.words.iter().any(|one| one.starts_with(word.as_str())))
    };
    let mut found: Vec<(usize, &Entry)> = entries
        .iter()
        .filter(|entry| wanted.iter().all(|word| said(entry, word)))
        .map(|entry| {
            let named = split(&format!("{} {}", entry.brief.id, entry.brief.title));
            (wanted.iter().filter(|word| named.contains(word)).count(), entry)
        })
        .collect();
    found.sort_by_key(|(named, _)| std::cmp::Reverse(*named));
    found.into_iter().take(MOST_LISTED).map(|(_, entry)| entry).collect()
}

/// The word, or the known one that it was probably meant to be.
fn mended(word: &str, vocabulary: &BTreeSet<&str>) -> String {
    if word.len() < 4 || vocabulary.iter().any(|known| known.starts_with(word)) {
        return word.to_string();
    }
    let near = vocabulary.iter().map(|known| (strsim::normalized_damerau_levenshtein(known, word), known));
    let near = near.filter(|(alike, _)| *alike >= 0.75).max_by(|a, b| a.0.total_cmp(&b.0));
    near.map_or_else(|| word.to_string(), |(_, known)| known.to_string())
}

fn split(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn of_cuda(number: u32) -> Option<Found> {
    let message = knowledge::messages().find(|message| message.cuda == Some(number))?;
    Some(Found { message, line: String::new() })
}

/// How a message is asked for: by its number, else by its title.
fn message_id(message: &Message) -> String {
    message.cuda.map_or_else(|| message.title.clone(), |number| format!("cuda:{number}"))
}

/// Whether the line of an SXid says Fatal or Non-fatal.
fn fatal(line: &str) -> Option<bool> {
    line.split([' ', ',']).find_map(|word| match word {
        "Fatal" => Some(true),
        "Non-fatal" | "Nonfatal" => Some(false),
        _ => None,
    })
}

fn push(rows: &mut Vec<(&'static str, Row)>, name: &'static str, row: Row) {
    let is_empty = match &row {
        Row::Text(text) | Row::Word(text) | Row::Block(text) => text.is_empty(),
        Row::List(list) | Row::Steps(list) => list.is_empty(),
        Row::Named(list) => list.is_empty(),
        Row::Number(_) => false,
    };
    if !is_empty {
        rows.push((name, row));
    }
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a check itself reads; what its checklist applies to is another question.
fn expressions_of_check(check: &Check) -> Vec<&Expression> {
    let mut all: Vec<&Expression> = Vec::new();
    all.extend(check.when.iter().map(|one| &one.value));
    all.extend(check.for_each.iter().map(|one| &one.list.value));
    all.extend(check.expect.iter().map(|(_, one)| &one.value));
    let texts = [&check.title].into_iter().chain(&check.found).chain(&check.why).chain(&check.next);
    texts.for_each(|text| all.extend(text.value.expressions()));
    for (_, argument) in check.observe.iter().flat_map(|ask| &ask.arguments) {
        argument.expressions(&mut |one| all.push(one));
    }
    all
}

fn argument_text(argument: &Argument) -> String {
    match argument {
        Argument::Text(text) => text.text.clone(),
        Argument::Plain(_, written) => written.clone(),
        Argument::List(items) => format!("[{}]", items.iter().map(argument_text).collect::<Vec<_>>().join(", ")),
    }
}
