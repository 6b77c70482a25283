//! The option `--redact`, and what a site keeps for it: the key that pseudonyms come of, and the list of what each
//! stands for.
//!
//! A keyed hash cannot be turned back, so beside the key lies the list, `NAME.list` for the key `NAME.key`: a line of
//! JSON for each pseudonym that was ever given with this key here. Secrets are never in it. Both are for their owner
//! only; where others may read one, nothing is redacted, and what mends it is said.

use super::{Failure, load, patience};
use crate::checklist::{Checklists, SITE_FILE};
use crate::printable::{printable, printable_json};
use crate::probe::source::plain_io_text;
use crate::report::redact::{Kind, Redactor};
use clap::Args;
use rustix::process::geteuid;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where root keeps the key of a site.
const SITE_KEY: &str = "/etc/punchlist/redact.key";

/// Where a user keeps theirs, in their folder of configurations.
const USERS_KEY: &str = "punchlist/redact.key";

/// The word that a key begins with.
const MARK: &str = "punchlist-redact-key-1";

/// How long a key is, in bytes: as long as the hash that it goes into.
const KEY_BYTES: usize = 32;

/// The largest list that is read, in bytes: of some hundred thousand things.
const MAX_LIST_BYTES: u64 = 64 << 20;

/// Whether what leaves is redacted.
#[derive(Args)]
pub(super) struct Redact {
    /// Replace host names, addresses, serial numbers, user names and secrets by pseudonyms, before anything is written.
    #[arg(long)]
    redact: bool,
    /// Write everything as it is, also where the site file says `redact: true`.
    #[arg(long, conflicts_with = "redact")]
    no_redact: bool,
    #[command(flatten)]
    key: KeyFile,
}

/// The key that pseudonyms come of.
#[derive(Args)]
pub(super) struct KeyFile {
    /// The key that pseudonyms come of. The same key gives the same pseudonyms, on every node that has it. If left out:
    /// /etc/punchlist/redact.key for root, else ~/.config/punchlist/redact.key. Made on first use.
    #[arg(long, value_name = "FILE")]
    redact_key: Option<PathBuf>,
}

/// A redactor, and where what it replaced is kept.
pub(super) struct Pseudonyms {
    /// What replaces.
    pub(super) redactor: Redactor,
    list: PathBuf,
}

/// What the list holds of one pseudonym.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) pseudonym: String,
    pub(super) original: String,
}

impl Redact {
    /// The redactor, where one is wanted here or by the site file among these checklists.
    pub(super) fn pseudonyms(&self, checklists: &Checklists) -> Result<Option<Pseudonyms>, Failure> {
        self.wanted(checklists.sites.iter().any(|site| site.redact))
    }

    /// The same for a command that reads no checklists.
    pub(super) fn pseudonyms_by_site(&self) -> Result<Option<Pseudonyms>, Failure> {
        let asked = self.redact || self.no_redact;
        if asked || patience::is_silent(Path::new(SITE_FILE)).is_some() || !Path::new(SITE_FILE).exists() {
            return self.wanted(false);
        }
        self.pseudonyms(&load(&[], None)?)
    }

    fn wanted(&self, by_site: bool) -> Result<Option<Pseudonyms>, Failure> {
        if self.redact || (by_site && !self.no_redact) {
            return self.key.pseudonyms().map(Some);
        }
        match &self.key.redact_key {
            Some(_) => Err(Failure::usage("--redact-key is of no use without --redact")),
            None => Ok(None),
        }
    }
}

impl KeyFile {
    /// A redactor with this key, which is made where there is none yet.
    pub(super) fn pseudonyms(&self) -> Result<Pseudonyms, Failure> {
        let path = self.answering_path()?;
        let key = match read_key(&path)? {
            Some(key) => key,
            None => make_key(&path)?,
        };
        Ok(Pseudonyms { redactor: Redactor::new(&key), list: path.with_extension("list") })
    }

    /// The redactor and the list of a key that has to be there.
    pub(super) fn existing(&self) -> Result<Pseudonyms, Failure> {
        let path = self.answering_path()?;
        let Some(key) = read_key(&path)? else {
            return Err(Failure::bad_input(format!(
                "{}: there is no key here, so nothing was redacted with it; name the key that was used: --redact-key",
                path.display()
            )));
        };
        Ok(Pseudonyms { redactor: Redactor::new(&key), list: path.with_extension("list") })
    }

    /// The path of the key, on which nobody has to wait: a home may lie on a server that is gone.
    fn answering_path(&self) -> Result<PathBuf, Failure> {
        let path = self.path()?;
        patience::answer(&[&path, &path.with_extension("list")])?;
        Ok(path)
    }

    fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.redact_key {
            return Ok(path.clone());
        }
        if geteuid().is_root() {
            return Ok(SITE_KEY.into());
        }
        // A relative path there is to be ignored (XDG Base Directory Specification).
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        folder("XDG_CONFIG_HOME")
            .or_else(|| folder("HOME").map(|home| home.join(".config")))
            .map(|folder| folder.join(USERS_KEY))
            .ok_or_else(|| Failure::usage("there is no HOME to keep the key in; name one: --redact-key FILE"))
    }
}

impl Pseudonyms {
    /// The same, redacted: a report, a snapshot, a comparison.
    pub(super) fn redacted<T: Serialize + DeserializeOwned>(&mut self, whole: &T) -> Result<T, Failure> {
        let redacted = self.redactor.redacted(whole);
        redacted.map_err(|error| Failure::system(format!("what was redacted cannot be read back: {error}")))
    }

    /// Finds out from something that is not written itself what has to be hidden from what is.
    pub(super) fn learn(&mut self, whole: &impl Serialize) -> Result<(), Failure> {
        self.redactor.learn(&serde_json::to_value(whole).map_err(Failure::system)?);
        Ok(())
    }

    /// A line of JSON, redacted.
    pub(super) fn line(&mut self, line: &str) -> Result<String, Failure> {
        let value: serde_json::Value = serde_json::from_str(line).map_err(Failure::system)?;
        Ok(printable_json(format!("{}\n", self.redacted(&value)?)))
    }

    /// Adds what was replaced to the list. Where that fails it is said, and the redacted document is as good as ever.
    pub(super) fn keep(&self) {
        if let Err(what) = self.append() {
            let what = format!("punchlist: {what}; `punchlist redact --who` will not know what was replaced just now");
            let _ = writeln!(io::stderr(), "{}", printable(&what));
        }
    }

    fn append(&self) -> Result<(), String> {
        let plain = |error: io::Error| format!("{}: {}", self.list.display(), plain_io_text(&error));
        let known: BTreeSet<String> = self.entries()?.into_iter().map(|entry| entry.pseudonym).collect();
        let mut lines = String::new();
        for replaced in self.redactor.replaced() {
            if replaced.kind != Kind::Secret && !known.contains(&replaced.pseudonym) {
                let entry = Entry { pseudonym: replaced.pseudonym.clone(), original: replaced.original.clone() };
                let _ = writeln!(lines, "{}", serde_json::to_string(&entry).unwrap_or_default());
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
        // All of it in one go, so that two runs at once do not mix their lines.
        options.open(&self.list).and_then(|mut file| file.write_all(lines.as_bytes())).map_err(plain)
    }

    /// What the list holds.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, String> {
        let Some(text) = read_private(&self.list, MAX_LIST_BYTES)? else { return Ok(Vec::new()) };
        // A line that was cut off by a full disk costs that one only.
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

/// Reads a file that nobody else may read; `None` where there is none.
fn read_private(path: &Path, most: u64) -> Result<Option<String>, String> {
    let plain = |error: io::Error| format!("{}: {}", path.display(), plain_io_text(&error));
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(plain(error)),
    };
    let metadata = file.metadata().map_err(plain)?;
    if !metadata.is_file() {
        return Err(format!("{}: this is no plain file", path.display()));
    }
    let (owner, me) = (metadata.uid(), geteuid().as_raw());
    if owner != me && owner != 0 {
        return Err(format!(
            "{0}: this belongs to the user {owner}; give it to yourself: chown {me} {0}",
            path.display()
        ));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(format!(
            "{0}: others may read this, and with it all that was redacted; take that from them: chmod 600 {0}",
            path.display()
        ));
    }
    if metadata.len() > most {
        return Err(format!("{}: this has more than {} MiB; put it aside", path.display(), most >> 20));
    }
    let mut text = String::new();
    file.take(most).read_to_string(&mut text).map_err(plain)?;
    Ok(Some(text))
}

/// The key in a file; `None` where there is no such file.
fn read_key(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let Some(text) = read_private(path, 4096).map_err(Failure::bad_input)? else { return Ok(None) };
    let damaged = || {
        Failure::bad_input(format!(
            "{}: this is no key of punchlist (one line: {MARK} and {} hexadecimal digits); put it aside, and a new one \
             is made",
            path.display(),
            KEY_BYTES * 2
        ))
    };
    let digits = text.trim().strip_prefix(MARK).map(str::trim).ok_or_else(damaged)?;
    if digits.len() != KEY_BYTES * 2 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(damaged());
    }
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| damaged());
    (0..KEY_BYTES).map(|number| byte(number * 2)).collect::<Result<_, _>>().map(Some)
}

/// Makes a key, whole or not at all, and never in place of one.
fn make_key(path: &Path) -> Result<Vec<u8>, Failure> {
    let plain = |error: &io::Error| {
        Failure::cannot_write(format!(
            "cannot make the key {}: {}; name another place: --redact-key FILE",
            path.display(),
            plain_io_text(error)
        ))
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.exists() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(|error| plain(&error))?;
    }
    let mut key = [0u8; KEY_BYTES];
    let given = getrandom(&mut key, GetRandomFlags::empty()).map_err(|error| plain(&error.into()))?;
    if given != key.len() {
        return Err(Failure::system("the kernel gave no random numbers for a key"));
    }
    let mut text = format!("{MARK} ");
    for byte in key {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    let mut file = tempfile::Builder::new()
        .prefix(".punchlist-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(|error| plain(&error))?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(|error| plain(&error))?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
            let said = format!(
                "punchlist: made the key {}. Keep it and give it to no one: with it pseudonyms stay the same and can be \
                 looked up. Put the same key on all nodes of a site.",
                path.display()
            );
            let _ = writeln!(io::stderr(), "{}", printable(&said));
            Ok(key.to_vec())
        }
        // Somebody else was faster, and theirs it is.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists && fs::symlink_metadata(path).is_ok() => {
            read_key(path)?.ok_or_else(|| plain(&error.error))
        }
        Err(error) => Err(plain(&error.error)),
    }
}
