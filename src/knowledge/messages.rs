//! What applications, tools and schedulers say when something is wrong, in plain words.
//!
//! `messages/*.yaml` are the tables, one file for each who says it. An entry:
//! - `title`: what is wrong;
//! - `says`: patterns of what is said. A pattern is words; upper and lower case and everything between words are all
//!   one. `..` stands for some words of the same line, `#` for a word with a digit in it, a `*` ends a word that may go on;
//! - `cuda`: the number, if it is an error of CUDA;
//! - `general: true`: it only says that something else failed, and comes after all that says what;
//! - `example`: a line as it is seen, which has to lead here first;
//! - `means`, `causes` (most likely first), `next`, `who`: for a person; `checks`: ids of checks that look into it;
//! - `source`: where it can be looked up.

use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::HashMap;

/// One entry a line, as JSON, each with the name of its file as `from`.
const MESSAGES: &str = include_str!(concat!(env!("OUT_DIR"), "/messages.jsonl"));

/// How many words `..` may stand for.
const GAP: usize = 16;

/// What is worth of a text: longer ones are cut off.
const MOST_WORDS: usize = 300_000;

/// Something that is said, and what it means.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who says it: cuda, nccl, nvidia-smi, slurm, containers, fabric or frameworks.
    pub from: String,
    /// What is wrong.
    pub title: String,
    /// The number, if it is an error of CUDA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuda: Option<u32>,
    /// Whether it only says that something else failed.
    #[serde(default)]
    pub general: bool,
    /// Patterns of what is said.
    #[serde(skip_serializing)]
    pub says: Vec<String>,
    /// A line as it is seen.
    #[serde(skip_serializing)]
    pub example: String,
    /// What it means.
    pub means: String,
    /// What can be behind it, most likely first.
    pub causes: Vec<String>,
    /// What to do, in this order.
    pub next: Vec<String>,
    /// Ids of the checks that look into it.
    #[serde(default)]
    pub checks: Vec<String>,
    /// Who has to act: user, operator, network or vendor.
    pub who: String,
    /// Where it can be looked up.
    pub source: String,
}

/// A message that was found in a text.
#[derive(Debug, Clone)]
pub struct Found {
    /// What it means.
    pub message: Message,
    /// The line that says it, without space around it.
    pub line: String,
}

/// All of them.
pub fn messages() -> impl Iterator<Item = Message> {
    // The tests read every entry.
    MESSAGES.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// What a text says, best first: what names a fault before what only says that there is one, and of these the longer
/// match first. A pasted text may have any lines around it, and any prefixes before it.
pub fn recognise(text: &str) -> Vec<Found> {
    Table::new().recognise(text)
}

/// All messages with their patterns.
struct Table {
    all: Vec<Message>,
    /// The number of the message and the parts of the pattern, by the first letters of its first word: that word may
    /// go on.
    patterns: HashMap<String, Vec<(usize, Vec<Part>)>>,
    /// Those that begin with a number.
    numbered: Vec<(usize, Vec<Part>)>,
}

impl Table {
    fn new() -> Table {
        let mut table = Table { all: messages().collect(), patterns: HashMap::new(), numbered: Vec::new() };
        for (number, message) in table.all.iter().enumerate() {
            // By its title it can be asked for again.
            for pattern in message.says.iter().chain([&message.title]) {
                let parts = pattern_parts(pattern);
                match parts.first() {
                    Some(Part::Word(first) | Part::Begins(first)) => {
                        let key = first.chars().take(KEY).collect();
                        table.patterns.entry(key).or_default().push((number, parts));
                    }
                    _ => table.numbered.push((number, parts)),
                }
            }
        }
        table
    }

    fn recognise(&self, text: &str) -> Vec<Found> {
        let words = words(text);
        let mut best: HashMap<usize, Match> = HashMap::new();
        let mut keep = |entry: usize, found: Match| {
            let held = best.entry(entry).or_insert(found);
            if found.weight > held.weight {
                *held = found;
            }
        };
        for at in 0..words.len() {
            let word = words[at].text.as_str();
            let keys = word.char_indices().take(KEY).map(|(start, c)| &word[..start + c.len_utf8()]);
            let tried = keys.filter_map(|key| self.patterns.get(key)).flatten();
            for (entry, parts) in tried.chain(&self.numbered) {
                if let Some(end) = matches(parts, &words, at) {
                    keep(*entry, Match { weight: parts.iter().map(Part::weight).sum(), start: at, end });
                }
            }
            if let Some(number) = cuda_number(&words, at)
                && let Some(entry) = self.all.iter().position(|message| message.cuda == Some(number))
            {
                keep(entry, Match { weight: NUMBER_WEIGHT, start: at.saturating_sub(1), end: at + 1 });
            }
        }
        let mut found: Vec<(usize, Match)> = best.into_iter().collect();
        found.sort_by_key(|(entry, one)| (self.all[*entry].general, Reverse(one.weight), one.start, *entry));
        let mut kept: Vec<(usize, Match)> = Vec::new();
        for (entry, one) in found {
            // What stands within a better match is a part of it.
            if !kept.iter().any(|(_, better)| better.start <= one.start && one.end <= better.end) {
                kept.push((entry, one));
            }
        }
        let lines: Vec<&str> = text.lines().collect();
        let found = kept.into_iter().map(|(entry, one)| {
            let line = lines.get(words[one.start].line).copied().unwrap_or_default().trim().to_string();
            Found { message: self.all[entry].clone(), line }
        });
        found.collect()
    }
}

/// What the number of a CUDA error weighs, in letters: less than a sentence that is spelled out.
const NUMBER_WEIGHT: usize = 12;

/// How many letters of a pattern's first word choose the patterns to try.
const KEY: usize = 3;

/// Where a pattern matched.
#[derive(Clone, Copy)]
struct Match {
    /// How much of the text the pattern spells out, in letters.
    weight: usize,
    /// The first of the words.
    start: usize,
    /// The word behind the last.
    end: usize,
}

/// One word of a text.
struct Word {
    text: String,
    line: usize,
}

/// The words of a text, in lower case: letters, digits and `_`. What makes a terminal colourful is none.
fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    for (line, content) in text.lines().enumerate() {
        let mut rest = content;
        while let Some(start) = rest.find(|c: char| c.is_alphanumeric() || matches!(c, '_' | '\u{1b}')) {
            rest = &rest[start..];
            if let Some(escape) = rest.strip_prefix("\u{1b}[") {
                let end = escape.find(|c: char| c.is_ascii_alphabetic()).map_or(escape.len(), |at| at + 1);
                rest = &escape[end..];
                continue;
            }
            if let Some(after) = rest.strip_prefix('\u{1b}') {
                rest = after;
                continue;
            }
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            found.push(Word { text: rest[..end].to_lowercase(), line });
            if found.len() == MOST_WORDS {
                return found;
            }
            rest = &rest[end..];
        }
    }
    found
}

/// One part of a pattern.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    /// This word.
    Word(String),
    /// A word that begins so.
    Begins(String),
    /// A word with a digit in it.
    Number,
    /// Up to [`GAP`] words of the same line.
    Gap,
}

impl Part {
    fn weight(&self) -> usize {
        match self {
            Part::Word(word) | Part::Begins(word) => word.chars().count(),
            Part::Number => 1,
            Part::Gap => 0,
        }
    }
}

fn pattern_parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for chunk in pattern.split_whitespace() {
        if chunk == ".." {
            parts.push(Part::Gap);
            continue;
        }
        let mut rest = chunk;
        while let Some(start) = rest.find(|c: char| c.is_alphanumeric() || matches!(c, '_' | '#')) {
            rest = &rest[start..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let word = rest[..end].to_lowercase();
            let behind = rest[end..].chars().next();
            // A number stands for all of its word: `#ms` is one word, and so is `mlx5_#`.
            let open = behind == Some('#') || (behind == Some('*') && end + 1 == rest.len());
            match (word.is_empty(), open) {
                (true, _) => parts.push(Part::Number),
                (false, true) => parts.push(Part::Begins(word)),
                (false, false) => parts.push(Part::Word(word)),
            }
            rest = &rest[end..];
            if open {
                let end = rest[1..].find(|c: char| !c.is_alphanumeric()).map_or(rest.len(), |at| at + 1);
                rest = &rest[end..];
            }
        }
    }
    parts
}

/// Whether the parts fit the words from `at` on: the word behind the last.
fn matches(parts: &[Part], words: &[Word], at: usize) -> Option<usize> {
    let Some((first, rest)) = parts.split_first() else { return Some(at) };
    if *first == Part::Gap {
        let line = words.get(at.checked_sub(1)?)?.line;
        let same_line = |at: &usize| words.get(*at).is_some_and(|word| word.line == line);
        return (at..=at + GAP).take_while(same_line).find_map(|at| matches(rest, words, at));
    }
    let word = words.get(at)?.text.as_str();
    let fits = match first {
        Part::Word(wanted) => word == wanted,
        Part::Begins(wanted) => word.starts_with(wanted.as_str()),
        Part::Number => word.contains(|c: char| c.is_ascii_digit()),
        Part::Gap => false,
    };
    if fits { matches(rest, words, at + 1) } else { None }
}

/// The number at this place, where what stands around it makes it one of CUDA's errors.
fn cuda_number(words: &[Word], at: usize) -> Option<u32> {
    let number: u32 = words[at].text.parse().ok()?;
    let before = |back: usize| at.checked_sub(back).map(|at| words[at].text.as_str()).unwrap_or_default();
    let named = ["error", "code", "failure", "cuda", "curesult", "cudaerror", "returned", "status", "err"];
    if !named.contains(&before(1)) {
        return None;
    }
    let near = &words[at.saturating_sub(12)..words.len().min(at + 12)];
    let of_cuda =
        near.iter().any(|word| ["cuda", "cu_", "curesult", "cuinit"].iter().any(|of| word.text.starts_with(of)));
    // Somebody types "error 802"; nothing else counts its errors that high in such a short text.
    (of_cuda || (words.len() <= 4 && number >= 100)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use std::sync::LazyLock;

    static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

    fn best(text: &str) -> Option<String> {
        TABLE.recognise(text).first().map(|found| found.message.title.clone())
    }

    #[test]
    fn every_entry_is_whole() {
        assert_eq!(messages().count(), MESSAGES.lines().count());
        assert!(messages().count() >= 120);
        let mut titles = BTreeSet::new();
        for message in messages() {
            let title = &message.title;
            assert!(titles.insert(title.clone()), "{title} twice");
            assert!(!message.says.is_empty() && !message.causes.is_empty() && !message.next.is_empty(), "{title}");
            assert!(matches!(message.who.as_str(), "user" | "operator" | "network" | "vendor"), "{title}");
            assert!(message.source.starts_with("https://"), "{title}");
            for text in [&message.means].into_iter().chain(&message.causes).chain(&message.next) {
                assert!(text.ends_with(['.', '?']), "{title}: {text}");
            }
        }
    }

    #[test]
    fn the_example_of_every_entry_leads_to_it_first() {
        let mut wrong = Vec::new();
        for message in messages() {
            let example = &message.example;
            // Whatever stands before it and around it, and in whatever case.
            let in_a_log = format!(
                "epoch 3 loss 0.12\n2026-01-01T00:00:00Z gpu042 [rank7]: \u{1b}[31m{}\u{1b}[0m\nmore of it\n",
                example.to_uppercase()
            );
            for text in [example, &in_a_log] {
                let found = best(text);
                if found.as_ref() != Some(&message.title) {
                    wrong.push(format!("{text}\n  should be: {}\n  is: {found:?}", message.title));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_pattern_leads_to_its_entry() {
        let mut wrong = Vec::new();
        for message in messages() {
            for pattern in &message.says {
                let text = pattern.replace("..", "and then").replace('#', "7").replace('*', "x");
                if !TABLE.recognise(&text).iter().any(|found| found.message.title == message.title) {
                    wrong.push(format!("{pattern}\n  should be: {}\n  is: {:?}", message.title, best(&text)));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn what_is_no_error_leads_to_nothing() {
        let lines = [
            "",
            "   \n\n",
            "hello world",
            "Epoch 12/100: 100%|██████████| 781/781 [02:13<00:00, 5.86it/s, loss=0.1234, lr=0.0003]",
            "step 1000 | loss 2.3456 | grad norm 0.78 | tokens/s 12345.6 | mem 71.2 GiB",
            "NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM/read",
            "NCCL INFO NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_1:1/IB [RO]; OOB eth0:10.0.0.7<0>",
            "NCCL INFO comm 0x557fe785f7a0 rank 36 nranks 64 cudaDev 4 nvmlDev 4 busId 9b000 - Init COMPLETE",
            "NCCL version 2.26.2+cuda12.2",
            "Submitted batch job 4711",
            "slurmd: launch task StepId=4711.0 request from UID:1000 GID:1000 HOST:10.0.0.1 PORT:4321",
            "srun: job 4711 has been allocated resources",
            "| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.4     |",
            "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-00000000-0000-0000-0000-000000000000)",
            "nvidia-smi topo -m",
            "nvidia 0000:9c:00.0: enabling device (0000 -> 0002)",
            "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.90.07",
            "mlx5_core 0000:9c:00.0 rdma0: Link up",
            "pcieport 0000:80:01.1: AER: enabled with IRQ 35",
            "EDAC MC0: Giving out device to module i10nm_edac",
            "kubelet Started container trainer",
            "Successfully pulled image \"nvcr.io/nvidia/pytorch:24.05-py3\" in 2m",
            "HTTP/1.1 200 OK",
            "GET /metrics HTTP/1.1 404 12 error 404",
            "test result: ok. 12 passed; 0 failed; 0 ignored",
            "error 12 of 100 was fixed; exit status 3",
            "0 errors, 0 warnings",
            "State: Active\nPhysical state: LinkUp\nRate: 400",
            "HW Power Brake Slowdown : Not Active",
            "torch.cuda.is_available() True",
            "Loading checkpoint shards: 100%|██████████| 30/30",
            "WARNING: this is a development server. Do not use it in a production deployment.",
            "The quick brown fox jumps over the lazy dog, 802 times",
            "CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7",
            "Reason=none State=IDLE",
            "RealMemory=2063000 AllocMem=0 FreeMem=1998000 Sockets=2 Boards=1",
            "\u{1b}[32mdone\u{1b}[0m \u{1b} \u{1b}[",
            "日本語 éàü ÄÖÜ ß",
        ];
        let wrong: Vec<String> =
            lines.iter().filter_map(|line| best(line).map(|title| format!("{line}\n  is no: {title}"))).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(best(&lines.join("\n")), None);
    }

    #[test]
    fn numbers_count_only_where_they_are_cudas() {
        let not_ready = best("CUDA_ERROR_SYSTEM_NOT_READY");
        assert!(not_ready.is_some());
        for text in
            ["error 802", "cuda 802", "cudaGetDeviceCount() returned 802", "CUresult error code 802 from cuInit"]
        {
            assert_eq!(best(text), not_ready, "{text}");
        }
        assert_eq!(best("returned 3\n -> unknown"), None);
        assert!(best("cudaGetDeviceCount returned 3").is_some());
    }

    #[test]
    fn what_names_the_fault_comes_before_what_only_says_that_there_is_one() {
        let text = "ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error.\n\
                    Last error:\nmisc/ibvwrap.cc:278 NCCL WARN Call to ibv_reg_mr_iova2 failed with error Cannot allocate memory";
        let found = recognise(text);
        assert!(found[0].message.title.contains("registered"), "{}", found[0].message.title);
        assert!(found[0].line.starts_with("misc/ibvwrap.cc:278"));
        assert!(found.last().unwrap().message.general);
    }

    #[test]
    fn patterns_are_read_as_they_are_documented() {
        let word = |text: &str| Part::Word(text.into());
        assert_eq!(
            pattern_parts("NET/IB .. mlx5_#: # gpu* (#ms)"),
            [
                word("net"),
                word("ib"),
                Part::Gap,
                Part::Begins("mlx5_".into()),
                Part::Number,
                Part::Begins("gpu".into()),
                Part::Number,
            ]
        );
        assert_eq!(pattern_parts("socket*core").len(), 2);
    }

    #[test]
    fn a_text_of_any_size_is_read_in_bounded_time() {
        let start = std::time::Instant::now();
        recognise(&"cuda error nccl unhandled driver gpu ".repeat(20_000));
        recognise(&"a".repeat(1 << 20));
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }
}
