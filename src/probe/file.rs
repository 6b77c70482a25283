//! `file`: one file of the node, by its path.

use super::source::{RecordedFile, Source};
use super::users::Names;
use super::{PROBE_DEADLINE, Probe, answer, arguments_of, schema_of};
use crate::fact::{Absent, Fact, Reason};
use chrono::{DateTime, SecondsFormat, Utc};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

pub(super) const PROBE: Probe = Probe {
    name: "file",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<File>,
    arguments: Some(schema_of::<FileArguments>),
    ask: |source, arguments, _| answer(&observe(source, &arguments_of(arguments)?)?),
};

/// The most of a file that can be asked for, in bytes.
const LONGEST: u64 = 16 << 20;

/// Which file, and what of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileArguments {
    /// Its absolute path.
    path: String,
    /// A regular expression to look for in each line of its contents.
    #[serde(default)]
    #[schemars(extend("format" = "regex"))]
    matches: Option<String>,
    /// How much of its contents is read at most, in bytes: 64 KiB if left out, at most 16 MiB.
    #[serde(default = "default_max_bytes")]
    #[schemars(range(min = 1, max = 16777216))]
    max_bytes: u64,
    /// Whether a symbolic link is followed to what it names (if left out, it is).
    #[serde(default = "default_follow")]
    follow: bool,
}

fn default_max_bytes() -> u64 {
    64 << 10
}

fn default_follow() -> bool {
    true
}

/// A file, a folder or whatever else has a path. Where there is nothing, `exists` is false and all else is absent
/// (not present). Only regular files are ever opened. A recorded machine keeps owner, mode and time of few files; of
/// the others these are absent (not recorded).
#[derive(Debug, Serialize, JsonSchema)]
struct File {
    /// The path that was asked for.
    path: String,
    /// Whether it names anything. False for a link to nothing, unless links are not followed.
    exists: Fact<bool>,
    /// What it is.
    #[serde(rename = "type")]
    kind: Fact<FileKind>,
    /// Permission bits in octal, with set-user-id, set-group-id and sticky bit: `0644`.
    mode: Fact<String>,
    /// Name of its owner, from /etc/passwd; the number where that file has no name for it.
    owner: Fact<String>,
    /// Name of its group, from /etc/group; the number where that file has no name for it.
    group: Fact<String>,
    /// Number of its owner.
    uid: Fact<u32>,
    /// Number of its group.
    gid: Fact<u32>,
    /// Length of its contents, in bytes; what the kernel claims for the files of /proc (0) and /sys (4096). Absent
    /// (not supported) for anything but regular files.
    size_bytes: Fact<u64>,
    /// Seconds since its contents were last changed; negative when that lies in the future.
    age_seconds: Fact<i64>,
    /// When its contents were last changed, as `2026-11-22T10:14:03Z`.
    modified: Fact<String>,
    /// Where the link at this path points, as written in it, followed or not. Absent (not supported) when the path
    /// names no link.
    target: Fact<String>,
    /// Its contents, up to `max_bytes`; bytes that are not UTF-8 read as U+FFFD. Absent (not supported) for anything
    /// but regular files.
    contents: Fact<String>,
    /// Whether it holds more than `contents`.
    truncated: Fact<bool>,
    /// The lines of `contents`.
    lines: Fact<Vec<String>>,
    /// Where the regular expression matched in `lines`. Absent (failed) when the argument `matches` was left out.
    matches: Fact<Vec<Match>>,
}

/// What something with a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A block device, such as a disk.
    BlockDevice,
    /// A character device, such as `/dev/nvidia0`.
    CharacterDevice,
}

/// A place where the regular expression matched.
#[derive(Debug, Serialize, JsonSchema)]
struct Match {
    /// Number of the line, the first being 1.
    line: usize,
    /// The text that matched.
    text: String,
    /// The texts of the expression's groups, the first group first; empty for one that took no part.
    groups: Vec<String>,
}

/// Mode, owner and time of a file: what a recording keeps apart from the tree.
struct Attributes {
    mode: Result<String, Absent>,
    uid: Result<u32, Absent>,
    gid: Result<u32, Absent>,
    modified: Result<DateTime<Utc>, Absent>,
}

fn observe(source: &Source, arguments: &FileArguments) -> Result<File, Absent> {
    let path = arguments.path.as_str();
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Absent::failed(format!("expected an absolute path, found \"{}\"", path.escape_default())));
    }
    let recorded = source.recorded().map(|recorded| recorded.files.get(path));
    let metadata = match (source.metadata(path, arguments.follow), recorded.flatten()) {
        (_, Some(RecordedFile { absent: Some(Reason::NotPresent), detail, .. })) => Err(Absent::not_present(detail)),
        // It was there; only the tree does not hold it.
        (Err(absent), Some(_)) if absent.reason == Reason::NotPresent => {
            Err(Absent::new(Reason::NotRecorded, format!("{path}: the tree does not hold it")))
        }
        (metadata, _) => metadata,
    };
    let exists = match &metadata {
        Err(absent) if absent.reason == Reason::NotPresent => Ok(false),
        Err(absent) if absent.reason != Reason::NotRecorded => Err(absent.clone()),
        _ => Ok(true),
    };
    let kind = metadata.as_ref().map(kind).map_err(Clone::clone);
    let only_files = || Absent::not_supported("not a regular file");
    let contents = match kind.clone() {
        Ok(FileKind::File) => source.bytes(path, arguments.max_bytes.min(LONGEST)),
        Ok(_) => Err(only_files()),
        // The recording may know better why.
        Err(absent) if absent.reason == Reason::NotRecorded => match source.bytes(path, 0) {
            Err(known) if known.reason != Reason::NotPresent => Err(known),
            _ => Err(absent),
        },
        Err(absent) => Err(absent),
    };
    let truncated = contents.clone().map(|(_, whole)| !whole);
    let contents = contents.map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned());
    let target = match source.metadata(path, false) {
        Ok(metadata) if metadata.is_symlink() => source.link(path),
        Ok(_) => Err(Absent::not_supported("not a symbolic link")),
        Err(_) => metadata.as_ref().map(|_| String::new()).map_err(Clone::clone),
    };
    let of = attributes(path, metadata.as_ref(), recorded);
    Ok(File {
        path: path.to_string(),
        exists: exists.into(),
        size_bytes: match kind {
            Ok(FileKind::File) => metadata.map(|metadata| metadata.len()).into(),
            Ok(_) => Fact(Err(only_files())),
            Err(ref absent) => Fact(Err(absent.clone())),
        },
        kind: kind.into(),
        owner: of.uid.clone().map(|uid| Names::of_users(source).get(uid)).into(),
        group: of.gid.clone().map(|gid| Names::of_groups(source).get(gid)).into(),
        mode: of.mode.into(),
        uid: of.uid.into(),
        gid: of.gid.into(),
        age_seconds: of.modified.clone().map(|modified| (source.now() - modified).num_seconds()).into(),
        modified: of.modified.map(|modified| modified.to_rfc3339_opts(SecondsFormat::Secs, true)).into(),
        target: target.into(),
        lines: contents.clone().map(|contents| contents.lines().map(str::to_string).collect()).into(),
        matches: matches(arguments.matches.as_deref(), &contents).into(),
        contents: contents.into(),
        truncated: truncated.into(),
    })
}

fn kind(metadata: &Metadata) -> FileKind {
    let kind = metadata.file_type();
    if kind.is_dir() {
        FileKind::Folder
    } else if kind.is_symlink() {
        FileKind::Link
    } else if kind.is_fifo() {
        FileKind::Pipe
    } else if kind.is_socket() {
        FileKind::Socket
    } else if kind.is_block_device() {
        FileKind::BlockDevice
    } else if kind.is_char_device() {
        FileKind::CharacterDevice
    } else {
        FileKind::File
    }
}

/// The attributes of a live file, or those that the recording has of this one: in a recorded tree the files
/// themselves belong to whoever copied it.
fn attributes(path: &str, metadata: Result<&Metadata, &Absent>, recorded: Option<Option<&RecordedFile>>) -> Attributes {
    match (metadata, recorded) {
        (Err(absent), None | Some(None)) => Attributes {
            mode: Err(absent.clone()),
            uid: Err(absent.clone()),
            gid: Err(absent.clone()),
            modified: Err(absent.clone()),
        },
        (Err(absent), _) if absent.reason == Reason::NotPresent => attributes(path, Err(absent), None),
        (Ok(metadata), None) => Attributes {
            mode: Ok(format!("{:04o}", metadata.mode() & 0o7777)),
            uid: Ok(metadata.uid()),
            gid: Ok(metadata.gid()),
            modified: DateTime::from_timestamp(metadata.mtime(), 0)
                .ok_or_else(|| Absent::failed(format!("{path}: changed at a time beyond all calendars"))),
        },
        (_, Some(recorded)) => {
            let known = recorded.cloned().unwrap_or_default();
            let unknown = || match known.absent {
                Some(reason) => Absent::new(reason, if known.detail.is_empty() { path } else { known.detail.as_str() }),
                None => Absent::new(Reason::NotRecorded, format!("{path}: the tree holds its contents only")),
            };
            Attributes {
                mode: known.mode.clone().ok_or_else(unknown),
                uid: known.uid.ok_or_else(unknown),
                gid: known.gid.ok_or_else(unknown),
                modified: known.modified.ok_or_else(unknown),
            }
        }
    }
}

fn matches(expression: Option<&str>, contents: &Result<String, Absent>) -> Result<Vec<Match>, Absent> {
    let expression = expression.ok_or_else(|| Absent::failed("no `matches` was asked for"))?;
    let expression = Regex::new(expression).map_err(|error| {
        let text = error.to_string();
        Absent::failed(format!("`matches`: {}", text.lines().last().unwrap_or(&text)))
    })?;
    let contents = contents.as_ref().map_err(Clone::clone)?;
    let in_line = |(index, line): (usize, &str)| {
        let found = expression.captures_iter(line).map(|found| Match {
            line: index + 1,
            text: found[0].to_string(),
            groups: found.iter().skip(1).map(|group| group.map_or("", |group| group.as_str()).to_string()).collect(),
        });
        found.collect::<Vec<Match>>()
    };
    Ok(contents.lines().enumerate().flat_map(in_line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use crate::probe::source::Recorded;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn ask(source: &Source, arguments: Value) -> Value {
        (PROBE.ask)(source, &arguments, &Silent).unwrap()
    }

    #[test]
    fn contents_lines_and_matches_come_up_to_the_cap() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("conf"), "Nodes=a\nGres=gpu:8 Gres=nic:2\nend").unwrap();
        let source = Source::dead(dir.path(), Recorded::default());
        let file = ask(&source, json!({"path": "/conf", "matches": r"Gres=(\w+):(\d+)(x)?"}));
        assert_eq!(file["lines"], json!(["Nodes=a", "Gres=gpu:8 Gres=nic:2", "end"]));
        assert_eq!(file["matches"][0], json!({"line": 2, "text": "Gres=gpu:8", "groups": ["gpu", "8", ""]}));
        assert_eq!(file["matches"][1]["groups"][0], "nic");
        assert_eq!((&file["truncated"], &file["size_bytes"]), (&json!(false), &json!(33)));
        let cut = ask(&source, json!({"path": "/conf", "max_bytes": 5}));
        assert_eq!((&cut["contents"], &cut["truncated"]), (&json!("Nodes"), &json!(true)));
        assert_eq!(cut["matches"]["absent"], "failed");
        let broken = ask(&source, json!({"path": "/conf", "matches": "("}));
        assert_eq!(broken["matches"]["absent"], "failed");
        assert_eq!(broken["contents"], file["contents"]);
    }

    #[test]
    fn what_is_not_there_does_not_exist_and_says_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        symlink("nothing", dir.path().join("dangling")).unwrap();
        let source = Source::dead(dir.path(), Recorded::default());
        for path in ["/none", "/none/below", "/dangling"] {
            let file = ask(&source, json!({"path": path}));
            assert_eq!(file["exists"], false, "{path}");
            for field in ["type", "mode", "uid", "size_bytes", "contents", "lines", "modified"] {
                assert_eq!(file[field]["absent"], "not_present", "{path}: {field}");
            }
        }
        assert_eq!(ask(&source, json!({"path": "/dangling"}))["target"], "nothing");
        let link = ask(&source, json!({"path": "/dangling", "follow": false}));
        assert_eq!((&link["exists"], &link["type"]), (&json!(true), &json!("link")));
        assert_eq!(link["contents"]["absent"], "not_supported");
        assert!((PROBE.ask)(&source, &json!({"path": "relative"}), &Silent).is_err());
        assert!((PROBE.ask)(&source, &json!({"path": "/x", "colour": 1}), &Silent).is_err());
    }

    #[test]
    fn a_recorded_file_has_the_attributes_of_its_recording_only() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/group"), "munge:x:99:\n").unwrap();
        fs::write(dir.path().join("etc/plain"), "x\n").unwrap();
        let key: RecordedFile = serde_yaml::from_str(
            "{absent: denied, detail: needs root, mode: '0400', uid: 7, gid: 99, modified: 2026-11-22T10:00:00Z}",
        )
        .unwrap();
        let secret = RecordedFile { mode: Some("0600".into()), ..Default::default() };
        let gone = RecordedFile { absent: Some(Reason::NotPresent), ..Default::default() };
        let recorded = Recorded {
            recorded: "2026-11-22T10:01:00Z".parse().unwrap(),
            files: BTreeMap::from([("/key".into(), key), ("/secret".into(), secret), ("/gone".into(), gone)]),
            ..Default::default()
        };
        let source = Source::dead(dir.path(), recorded);
        let key = ask(&source, json!({"path": "/key"}));
        assert_eq!((&key["exists"], &key["mode"], &key["age_seconds"]), (&json!(true), &json!("0400"), &json!(60)));
        assert_eq!((&key["owner"], &key["group"]), (&json!("7"), &json!("munge")));
        assert_eq!(key["contents"], json!({"absent": "denied", "detail": "needs root"}));
        assert_eq!(key["type"]["absent"], "not_recorded");
        let secret = ask(&source, json!({"path": "/secret"}));
        assert_eq!((&secret["exists"], &secret["contents"]["absent"]), (&json!(true), &json!("not_recorded")));
        assert_eq!(ask(&source, json!({"path": "/gone"}))["exists"], false);
        let plain = ask(&source, json!({"path": "/etc/plain"}));
        assert_eq!((&plain["contents"], &plain["mode"]["absent"]), (&json!("x\n"), &json!("not_recorded")));
        assert_eq!(plain["age_seconds"]["absent"], "not_recorded");
    }

    #[test]
    fn a_live_device_is_looked_at_and_not_opened() {
        let zero = ask(&Source::live(), json!({"path": "/dev/zero"}));
        assert_eq!((&zero["type"], &zero["uid"]), (&json!("character_device"), &json!(0)));
        assert_eq!(zero["contents"]["absent"], "not_supported");
        let folder = ask(&Source::live(), json!({"path": "/etc"}));
        assert_eq!((&folder["type"], &folder["owner"]), (&json!("folder"), &json!("root")));
        assert_eq!(folder["size_bytes"]["absent"], "not_supported");
    }
}
