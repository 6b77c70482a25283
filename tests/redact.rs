//! What leaves a site: nothing that says whose it is, and all that a diagnosis needs.

mod common;

use common::{in_parallel, machine, machines, punchlist_on};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder with what was saved of a machine, and the key of these tests.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Desk {
        Desk { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key(&self) -> PathBuf {
        self.path("site.key")
    }

    fn write(&self, name: &str, document: &Json) -> PathBuf {
        fs::write(self.path(name), document.to_string()).unwrap();
        self.path(name)
    }

    /// `punchlist ARGUMENTS --redact-key …`
    fn punchlist(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_punchlist"));
        command.args(arguments).arg("--redact-key").arg(self.key()).env("NO_COLOR", "1").output().unwrap()
    }

    fn snapshot(&self, of: &Path) -> Json {
        let taken = punchlist_on(of, "snapshot").output().unwrap();
        serde_json::from_slice(&taken.stdout).unwrap()
    }
}

fn plain(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_punchlist")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(!output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What must not leave, as it may stand in any text. Other spellings of the same are in it as well.
const SECRETS: &[(&str, &str)] = &[
    ("host", "GX017"),
    ("full name", "gx017.rhea.acme-labs.com"),
    ("sibling", "gx023"),
    ("domain", "login.rhea.acme-labs.com"),
    ("server", "filer9:/vol"),
    ("address", "10.77.3.41"),
    ("address in hexadecimal", "0A4D0329"),
    ("IPv6 address", "2001:db8:77::41"),
    ("link-local address", "fe80::5ea1:abff:fe12:3456"),
    ("MAC address", "5c:a1:ab:12:34:56"),
    ("MAC address with dashes", "5C-A1-AB-12-34-56"),
    ("serial number", "SGX7700017"),
    ("UUID", "GPU-4dbb5c2f-7e61-4f0a-9c3d-5d2e7a90b1c4"),
    ("GUID", "0x58a2e1030077aabb"),
    ("GID", "fe80:0000:0000:0000:58a2:e103:0077:aabb"),
    ("home", "/home/mmustermann/thesis/model.py"),
    ("user", "mmustermann"),
    ("variable", "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMIbPxRfiCYzzzz"),
    ("option", "rw,vers=3.0,password=S3cur3-Cifs-Pw,uid=0"),
    ("bearer", "Authorization: Bearer abcdef0123456789.token"),
    ("JWT", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtdXN0ZXIifQ.dGhpc2lzYXNpZ25hdHVyZQ"),
    ("PEM", "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAx4\n-----END RSA PRIVATE KEY-----"),
    ("URL", "https://deploy:Gl1tchPw@git.acme-labs.com/x"),
    ("AWS", "AKIAIOSFODNN7ABCDEFG"),
    ("Google", "AIzaSyB1234567890abcdefghijklmnopqrstuv"),
    ("GitHub", "ghp_0123456789abcdefABCDEF0123456789abcd"),
    ("Slack", "xoxb-123456789012-abcdefGHIJKLmnop"),
    ("munge", "MUNGE:AwQFAABr3Zq8mXyZ0123abcd==:"),
    ("slurmdbd", "StoragePass=slurmDbPw77"),
    ("drained by", "Reason=disk [operator7x@2026-11-20T08:15:00]"),
    ("work folder", "slurmstepd: cannot read /scratch/prj-orion/ckpt/step1.pt"),
    ("file system", "LustreError: orionfs-OST0003-osc-ffff9a8b0000: rc = -107"),
    ("kubeconfig", "client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLQ=="),
    ("signed link", "https://s3.rhea.acme-labs.com/b/k?X-Amz-Signature=fe5f80f77d5fa3beca038a24"),
    ("option of a program", "ipmitool -I lanplus -P Ipm1Passw0rd sel list"),
    ("registry", "{\"auths\":{\"registry.acme-labs.com\":{\"auth\":\"YWRtaW46aHVudGVyMg==\"}}}"),
    ("service tag", "Service Tag: 7XK2R33Q"),
    ("fingerprint", "ED25519 SHA256:uNiVztksCsDhcc0u9e8BrWSmzCYaGZJ8V1pT1zOmEX4"),
];

/// What must not be found afterwards: the parts of those that say something.
const NEEDLES: &[&str] = &[
    "gx017",
    "gx023",
    "acme-labs",
    "filer9",
    "10.77.3.41",
    "0a4d0329",
    "2001:db8:77",
    "5ea1:abff",
    "5c:a1:ab",
    "5c-a1-ab",
    "5ca1ab123456",
    "sgx7700017",
    "4dbb5c2f",
    "58a2e1030077aabb",
    "0077:aabb",
    "mmustermann",
    "thesis",
    "wjalrxutn",
    "s3cur3-cifs",
    "abcdef0123456789.token",
    "eyjhbgci",
    "miieowib",
    "gl1tchpw",
    "akiaiosfodnn7",
    "aizasyb",
    "ghp_0123",
    "xoxb-",
    "awqfaabr3",
    "slurmdbpw77",
    "operator7x",
    "prj-orion",
    "orionfs",
    "ls0tls1crudjtibsu0eg",
    "fe5f80f77d5fa3be",
    "ipm1passw0rd",
    "ywrtaw46ahvudgvymg",
    "7xk2r33q",
    "univztkscsdhcc0u9e8",
];

fn leaks(text: &str) -> Vec<&'static str> {
    let lower = text.to_lowercase();
    NEEDLES.iter().copied().filter(|needle| lower.contains(needle)).collect()
}

/// Texts that the format of a snapshot itself gives a meaning: whoever reads it back reads these.
fn belongs_to_the_format(key: &str) -> bool {
    matches!(key, "absent" | "format" | "taken")
}

/// Puts a secret into every text of a document, in front of it, behind it, or in its place; the n-th gets the n-th.
fn plant(value: &mut Json, number: &mut usize, secrets: &[&str]) {
    match value {
        Json::String(text) => {
            let secret = secrets[*number % secrets.len()];
            *text = match *number / secrets.len() % 3 {
                0 => format!("{text} {secret}"),
                1 => format!("{secret}, {text}"),
                _ => secret.to_string(),
            };
            *number += 1;
        }
        Json::Array(list) => list.iter_mut().for_each(|one| plant(one, number, secrets)),
        Json::Object(map) => {
            for (key, value) in map.iter_mut().filter(|(key, _)| !belongs_to_the_format(key)) {
                // What is a field of its own, a probe's plain answer, is planted one level below.
                let _ = key;
                plant(value, number, secrets);
            }
        }
        _ => {}
    }
}

/// The snapshot of a machine of that site, in which every text holds a secret.
fn planted(desk: &Desk, of: &Path, offset: usize) -> Json {
    let mut snapshot = desk.snapshot(of);
    let secrets: Vec<&str> = SECRETS.iter().map(|(_, secret)| *secret).collect();
    let mut number = offset;
    plant(&mut snapshot["observations"], &mut number, &secrets);
    let host = &mut snapshot["observations"]["plain"]["host"]["value"];
    host["name"] = "gx017.rhea.acme-labs.com".into();
    host["short_name"] = "gx017".into();
    host["dmi"]["serial"] = "SGX7700017".into();
    let processes = &mut snapshot["observations"]["plain"]["processes"]["value"];
    if let Some(list) = processes.as_array_mut() {
        let process = json!({ "name": "python3", "user": "mmustermann", "uid": 41077, "pid": 77,
            "arguments": ["mysql", "--password", "S3cur3-Cifs-Pw"] });
        list.push(process);
    }
    snapshot
}

#[test]
fn no_secret_leaves_in_any_field_of_a_snapshot() {
    let desk = Desk::new();
    for (offset, name) in ["hgx-h100", "sick-node", "grace-node", "pcie-faults"].iter().enumerate() {
        for turn in 0..5 {
            let snapshot = planted(&desk, &machine(name), turn * 7 + offset);
            let before = snapshot.to_string();
            assert_eq!(
                leaks(&before.to_lowercase()).len(),
                NEEDLES.len() - 1,
                "every needle but one spelling is planted"
            );
            let file = desk.write("planted.json", &snapshot);
            let redacted = stdout(&desk.punchlist(&["redact", text(&file)]));
            let document: Json = serde_json::from_str(&redacted).unwrap();
            assert!(leaks(&redacted).is_empty(), "{name}: {:?}\n{}", leaks(&redacted), where_is(&document, ""));
            assert_eq!(document["redacted"], true);
        }
    }
}

/// The places that still hold a secret.
fn where_is(value: &Json, path: &str) -> String {
    match value {
        Json::String(text) if !leaks(text).is_empty() => format!("{path}: {text}\n"),
        Json::Array(list) => {
            list.iter().enumerate().map(|(number, one)| where_is(one, &format!("{path}[{number}]"))).collect()
        }
        Json::Object(map) => map
            .iter()
            .map(|(key, one)| {
                let key_leaks = if leaks(key).is_empty() { String::new() } else { format!("{path}: the key {key}\n") };
                key_leaks + &where_is(one, &format!("{path}.{key}"))
            })
            .collect(),
        _ => String::new(),
    }
}

#[test]
fn no_secret_leaves_in_any_format() {
    let desk = Desk::new();
    for (offset, name) in ["sick-node", "hgx-h100"].iter().enumerate() {
        let file = desk.write("planted.json", &planted(&desk, &machine(name), offset));
        let endings = ["txt", "json", "html", "md", "xml", "prom", "nagios", "jsonl"];
        let outputs: Vec<PathBuf> = endings.iter().map(|ending| desk.path(&format!("out.{ending}"))).collect();
        let mut arguments = vec!["run", "--from", text(&file), "--all", "--redact"];
        outputs.iter().for_each(|output| arguments.extend(["-o", text(output)]));
        let run = desk.punchlist(&arguments);
        let shown = stdout(&run);
        let leaking: Vec<&str> = shown.lines().filter(|line| !leaks(line).is_empty()).collect();
        assert!(leaking.is_empty(), "{leaking:#?}");
        for output in &outputs {
            let written = fs::read_to_string(output).unwrap();
            assert!(!written.is_empty(), "{}", output.display());
            assert!(leaks(&written).is_empty(), "{}: {:?}", output.display(), leaks(&written));
        }
        // A report that was kept as it is, and is redacted when it is rendered.
        let kept = desk.path("kept.json");
        plain(&["run", "--from", text(&file), "-o", text(&kept)]);
        let mut arguments = vec!["report", text(&kept), "--all", "--redact"];
        outputs.iter().for_each(|output| arguments.extend(["-o", text(output)]));
        let rendered = desk.punchlist(&arguments);
        let table = desk.punchlist(&["report", text(&kept), text(&kept), "--redact"]);
        // What only the snapshot told, the report alone cannot: that a word is a user or a number a serial number, where
        // nothing around it says so.
        let told = |text: &str| {
            leaks(text)
                .into_iter()
                .filter(|leak| !matches!(*leak, "mmustermann" | "s3cur3-cifs" | "sgx7700017"))
                .collect::<Vec<_>>()
        };
        assert!(told(&stdout(&rendered)).is_empty(), "{:?}", told(&stdout(&rendered)));
        assert!(told(&stdout(&table)).is_empty(), "{:?}", told(&stdout(&table)));
        for output in &outputs {
            let written = fs::read_to_string(output).unwrap();
            assert!(told(&written).is_empty(), "{}: {:?}", output.display(), told(&written));
        }
    }
}

#[test]
fn a_redacted_snapshot_is_judged_the_same() {
    let desk = Desk::new();
    let pseudonym = regex::Regex::new(r"\b[a-z]+-[0-9a-f]{8}\b").unwrap();
    in_parallel(&machines(), |machine| {
        let name = machine.file_name().unwrap().to_string_lossy();
        let file = desk.write(&format!("{name}.json"), &desk.snapshot(machine));
        let redacted = desk.path(&format!("{name}-redacted.json"));
        let output = desk.punchlist(&["redact", text(&file), "-o", text(&redacted)]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let judged = |file: &Path| -> (Json, Option<i32>) {
            let output = plain(&["run", "--from", text(file), "--format", "json"]);
            (serde_json::from_str(&stdout(&output)).unwrap(), output.status.code())
        };
        let ((original, status), (redacted, redacted_status)) = (judged(&file), judged(&redacted));
        assert_eq!(status, redacted_status, "{}", machine.display());
        let statuses = |report: &Json| -> Vec<String> {
            let outcomes = report["outcomes"].as_array().unwrap().iter();
            outcomes.map(|one| format!("{} {}", one["check"], one["status"])).collect()
        };
        assert_eq!(statuses(&original), statuses(&redacted), "{name}");
        // Subjects are numbered by their names, so a pseudonym may change a number; but each has one of its own, and
        // stands for the same thing everywhere.
        let subjects = |report: &Json| -> Vec<Option<Vec<u64>>> {
            let outcomes = report["outcomes"].as_array().unwrap().iter();
            let numbers = |one: &Json| Some(one["subjects"].as_array()?.iter().map(|n| n.as_u64().unwrap()).collect());
            outcomes.map(numbers).collect()
        };
        let (before, after) = (subjects(&original), subjects(&redacted));
        let lengths = |all: &[Option<Vec<u64>>]| all.iter().map(|one| one.as_ref().map(Vec::len)).collect::<Vec<_>>();
        assert_eq!(lengths(&before), lengths(&after), "{name}");
        let (mut as_redacted, mut as_original) = (BTreeMap::new(), BTreeMap::new());
        for (before, after) in before.iter().flatten().flatten().zip(after.iter().flatten().flatten()) {
            assert_eq!(as_redacted.entry(before).or_insert(after), &after, "{name}");
            assert_eq!(as_original.entry(after).or_insert(before), &before, "{name}");
            let kind = |report: &Json, number: u64| report["subjects"][number as usize]["kind"].clone();
            assert_eq!(kind(&original, *before), kind(&redacted, *after), "{name}");
        }
        // The wording of the punch list is the same but for names.
        let words = |report: &Json| -> Vec<String> {
            let items = report["items"].as_array().unwrap().iter();
            let texts = items.map(|item| format!("{} {} {}", item["why"], item["next"], item["who"]));
            texts.flat_map(|text| text.split_whitespace().map(str::to_string).collect::<Vec<_>>()).collect()
        };
        let (original, redacted) = (words(&original), words(&redacted));
        assert_eq!(original.len(), redacted.len(), "{}", machine.display());
        for (original, redacted) in original.iter().zip(&redacted) {
            assert!(
                original == redacted || pseudonym.is_match(redacted),
                "{}: {original}, {redacted}",
                machine.display()
            );
        }
    });
}

#[test]
fn what_a_diagnosis_needs_is_still_in_a_redacted_report() {
    let desk = Desk::new();
    let run = |more: &[&str]| -> Json {
        let mut command = punchlist_on(&machine("hgx-h100"), "run");
        command.args(["--format", "json", "--all"]).args(more).arg("--redact-key").arg(desk.key());
        if more.is_empty() {
            command = punchlist_on(&machine("hgx-h100"), "run");
            command.args(["--format", "json", "--all"]);
        }
        serde_json::from_str(&stdout(&command.output().unwrap())).unwrap()
    };
    let (original, redacted) = (run(&[]), run(&["--redact"]));
    assert_ne!(original["node"]["name"], redacted["node"]["name"]);
    for field in ["gpus", "driver", "os", "kernel", "product", "architecture"] {
        assert_eq!(original["node"][field], redacted["node"][field]);
    }
    assert_eq!(original["summary"], redacted["summary"]);
    assert_eq!(original["run"]["started"], redacted["run"]["started"]);
    let without_times = |report: &Json| -> Vec<Json> {
        let mut outcomes = report["outcomes"].as_array().unwrap().clone();
        outcomes.iter_mut().for_each(|one| drop(one.as_object_mut().unwrap().remove("duration_ms")));
        outcomes
    };
    // Of the outcomes of a healthy node only its name says whose it is: PCI addresses, versions and counts are as they
    // were.
    let (name, pseudonym) = (original["node"]["name"].as_str().unwrap(), redacted["node"]["name"].as_str().unwrap());
    for (original, redacted) in without_times(&original).iter().zip(without_times(&redacted)) {
        assert_eq!(original.to_string().replace(name, pseudonym), redacted.to_string());
    }
    assert_eq!(original["subjects"], redacted["subjects"]);
}

#[test]
fn the_same_key_gives_the_same_pseudonyms_and_finds_the_originals() {
    let desk = Desk::new();
    let file = desk.write("node.json", &desk.snapshot(&machine("sick-node")));
    let first: Json = serde_json::from_str(&stdout(&desk.punchlist(&["redact", text(&file)]))).unwrap();
    let second: Json = serde_json::from_str(&stdout(&desk.punchlist(&["redact", text(&file)]))).unwrap();
    assert_eq!(first, second);
    let name = first["observations"]["plain"]["host"]["value"]["short_name"].as_str().unwrap();
    assert!(name.starts_with("host-"), "{name}");
    // In the list beside the key, by its beginning as well; and without the list in the original, or in any text.
    assert_eq!(stdout(&desk.punchlist(&["redact", "--who", name])), format!("{name}  cn118\n"));
    assert_eq!(stdout(&desk.punchlist(&["redact", "--who", &name[..9]])), format!("{name}  cn118\n"));
    fs::remove_file(desk.path("site.list")).unwrap();
    let unknown = desk.punchlist(&["redact", "--who", name]);
    assert_eq!(unknown.status.code(), Some(65));
    assert!(stderr(&unknown).contains("not in the list"), "{}", stderr(&unknown));
    assert!(stdout(&desk.punchlist(&["redact", "--who", name, text(&file)])).contains("cn118"));
    fs::write(desk.path("hosts"), "10.0.0.1 cn117 cn117.x\n10.0.0.2 cn118 cn118.x\n").unwrap();
    assert_eq!(
        stdout(&desk.punchlist(&["redact", "--who", name, text(&desk.path("hosts"))])),
        format!("{name}  cn118\n")
    );
    // Another key knows nothing of it.
    fs::remove_file(desk.key()).unwrap();
    let other: Json = serde_json::from_str(&stdout(&desk.punchlist(&["redact", text(&file)]))).unwrap();
    assert_ne!(first, other);
    assert_eq!(desk.punchlist(&["redact", "--who", name]).status.code(), Some(65));
}

#[test]
fn a_preview_shows_what_would_be_replaced_and_where() {
    let desk = Desk::new();
    let file = desk.write("planted.json", &planted(&desk, &machine("sick-node"), 0));
    let output = desk.punchlist(&["redact", "--preview", text(&file)]);
    let shown = stdout(&output);
    for expected in ["GX017", "10.77.3.41", "observations.asked.", "would be replaced"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    // A secret is told apart by its beginning, and is not spilt on the screen.
    assert!(!shown.contains("wJalrXUtnFEMI") && shown.contains("wJa… ("), "{shown}");
    let listed: Json =
        serde_json::from_str(&stdout(&desk.punchlist(&["redact", "--preview", "--format", "json", text(&file)])))
            .unwrap();
    let host = listed.as_array().unwrap().iter().find(|one| one["kind"] == "host").unwrap();
    assert!(host["count"].as_u64().unwrap() > 0 && host["places"][0].as_str().unwrap().starts_with("observations."));
    // Nothing was written but the key.
    assert!(!desk.path("site.list").exists());
}

#[test]
fn the_key_is_made_once_and_is_for_its_owner_only() {
    let desk = Desk::new();
    let report = desk.path("report.json");
    punchlist_on(&machine("docker-container"), "run").arg("-o").arg(&report).output().unwrap();
    let first = desk.punchlist(&["redact", text(&report)]);
    assert!(stderr(&first).contains("made the key"), "{}", stderr(&first));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&desk.key()), 0o600);
    let key = fs::read(desk.key()).unwrap();
    let second = desk.punchlist(&["redact", text(&report)]);
    assert_eq!(stderr(&second), "");
    assert_eq!(fs::read(desk.key()).unwrap(), key);
    let mended = |what: &str, expected: &str| {
        let refused = desk.punchlist(&["redact", text(&report)]);
        assert_eq!(refused.status.code(), Some(65), "{what}: {}", stderr(&refused));
        assert!(stderr(&refused).contains(expected), "{what}: {}", stderr(&refused));
        assert!(refused.stdout.is_empty(), "{what}");
    };
    fs::set_permissions(desk.key(), fs::Permissions::from_mode(0o644)).unwrap();
    mended("others may read it", &format!("chmod 600 {}", desk.key().display()));
    fs::set_permissions(desk.key(), fs::Permissions::from_mode(0o600)).unwrap();
    for damaged in ["", "hello", "punchlist-redact-key-1 abc", "punchlist-redact-key-1 é"] {
        fs::write(desk.key(), damaged).unwrap();
        mended(damaged, "this is no key");
    }
    fs::remove_file(desk.key()).unwrap();
    fs::create_dir(desk.key()).unwrap();
    mended("a folder", "no plain file");
    let nowhere = plain(&["redact", text(&report), "--redact-key", "/proc/nothing/here.key"]);
    assert_eq!(nowhere.status.code(), Some(74), "{}", stderr(&nowhere));
}

#[test]
fn the_list_holds_no_secret_and_is_for_its_owner_only() {
    let desk = Desk::new();
    let file = desk.write("planted.json", &planted(&desk, &machine("sick-node"), 0));
    desk.punchlist(&["redact", text(&file), "-o", text(&desk.path("out.json"))]);
    let list = fs::read_to_string(desk.path("site.list")).unwrap();
    assert!(list.to_lowercase().contains("gx017"), "{list}");
    for secret in ["wJalrXUtn", "S3cur3-Cifs-Pw", "AKIAIOSFODNN7", "MIIEow", "slurmDbPw77", "Gl1tchPw"] {
        assert!(!list.contains(secret), "{secret}: {list}");
    }
    assert_eq!(fs::metadata(desk.path("site.list")).unwrap().permissions().mode() & 0o777, 0o600);
    // Once for each thing, however often it is redacted.
    desk.punchlist(&["redact", text(&file), "-o", text(&desk.path("out.json"))]);
    assert_eq!(fs::read_to_string(desk.path("site.list")).unwrap(), list);
    // Where others may read it, that is said, and what was redacted is written all the same.
    fs::set_permissions(desk.path("site.list"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = desk.punchlist(&["redact", text(&file)]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("chmod 600") && !output.stdout.is_empty());
}

#[test]
fn wrong_usage_and_bad_files_are_said() {
    let desk = Desk::new();
    fs::write(desk.path("zeros"), vec![0u8; 1 << 20]).unwrap();
    fs::write(desk.path("text"), "hello").unwrap();
    fs::write(desk.path("newer"), r#"{"format": "punchlist-report", "version": 99}"#).unwrap();
    for (arguments, status, said) in [
        (vec!["redact"], 64, "FILE"),
        (vec!["redact", "a", "b"], 64, "one file is redacted at a time"),
        (vec!["redact", "--who", "bob"], 64, "a pseudonym is a kind"),
        (vec!["redact", "--who", "dog-12345678"], 64, "the kinds are host"),
        (vec!["redact", "/nothing/here"], 65, "no such file"),
        (vec!["redact", text(&desk.path("zeros"))], 65, "not a report"),
        (vec!["redact", text(&desk.path("text"))], 65, "not a report"),
        (vec!["redact", text(&desk.path("newer"))], 65, "newer punchlist"),
        (vec!["run", "--level", "quick"], 64, "--redact-key is of no use without --redact"),
    ] {
        let output = desk.punchlist(&arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
    }
    assert!(!desk.key().exists(), "no key is made for what cannot be redacted");
}
