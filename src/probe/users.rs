//! Names of users and groups and who is in them, from the asked machine's own text files only: a directory service may
//! hang, and on another root it would answer for the wrong machine.

use super::source::Source;
use crate::fact::Absent;
use std::collections::HashMap;

/// Names by number.
pub(super) struct Names(HashMap<u32, String>);

impl Names {
    /// The users in /etc/passwd. None where it cannot be read.
    pub(super) fn of_users(source: &Source) -> Names {
        Names::read(source, "/etc/passwd")
    }

    /// The groups in /etc/group. None where it cannot be read.
    pub(super) fn of_groups(source: &Source) -> Names {
        Names::read(source, "/etc/group")
    }

    /// Both files begin `NAME:PASSWORD:NUMBER`. Of several names for a number the first counts, as in getpwuid(3).
    fn read(source: &Source, path: &str) -> Names {
        let mut names = HashMap::new();
        for line in source.text(path).unwrap_or_default().lines() {
            let mut fields = line.split(':');
            let (Some(name), _, Some(number)) = (fields.next(), fields.next(), fields.next()) else { continue };
            if let Ok(number) = number.parse() {
                names.entry(number).or_insert_with(|| name.to_string());
            }
        }
        Names(names)
    }

    /// The name for `number`, or the number itself where the file has none.
    pub(super) fn get(&self, number: u32) -> String {
        self.0.get(&number).cloned().unwrap_or_else(|| number.to_string())
    }
}

/// Who is in which group.
pub(super) struct Members {
    /// The text of /etc/group: `NAME:PASSWORD:NUMBER:MEMBER,MEMBER`.
    groups: String,
    /// The text of /etc/passwd, whose fourth field is the number of an account's own group.
    accounts: String,
}

impl Members {
    /// Absent where either file cannot be read: then nobody can tell.
    pub(super) fn read(source: &Source) -> Result<Members, Absent> {
        Ok(Members { groups: source.text("/etc/group")?, accounts: source.text("/etc/passwd")? })
    }

    /// Whether no account but root is in a group. Absent (not present) where /etc/group has no such group.
    pub(super) fn has_only_root(&self, group: u32) -> Result<bool, Absent> {
        let number = group.to_string();
        let has_number = |line: &&str, field: usize| line.split(':').nth(field) == Some(&*number);
        let is_root = |name: &str| matches!(name.trim(), "" | "root");
        let name = |line: &str| line.split(':').next().unwrap_or_default().to_string();
        if self.accounts.lines().filter(|line| has_number(line, 3)).any(|line| !is_root(&name(line))) {
            return Ok(false);
        }
        match self.groups.lines().find(|line| has_number(line, 2)) {
            Some(line) => Ok(line.split(':').nth(3).unwrap_or_default().split(',').all(is_root)),
            None if group == 0 => Ok(true),
            None => Err(Absent::not_present(format!("/etc/group has no group {group}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::source::Recorded;

    #[test]
    fn a_number_without_a_name_stays_a_number() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\nbroken\n+::::::\nslurm:x:64030:64030::/:\n";
        std::fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        let source = Source::dead(dir.path(), Recorded::default());
        let users = Names::of_users(&source);
        assert_eq!([0, 64030, 1].map(|id| users.get(id)), ["root", "slurm", "1"]);
        assert_eq!(Names::of_groups(&source).get(5), "5");
    }

    #[test]
    fn a_group_has_those_it_names_and_those_whose_own_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let source = Source::dead(dir.path(), Recorded::default());
        std::fs::write(dir.path().join("etc/group"), "root:x:0:\nvideo:x:44:\nrender:x:105:root,me\nme:x:1000:\n")
            .unwrap();
        // Who is whose own group cannot be told.
        assert!(Members::read(&source).is_err());
        std::fs::write(dir.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/:/bin/sh\n")
            .unwrap();
        let members = Members::read(&source).unwrap();
        assert_eq!([0, 44, 105, 1000].map(|group| members.has_only_root(group).unwrap()), [true, true, false, false]);
        assert_eq!(members.has_only_root(64030).unwrap_err().reason, crate::fact::Reason::NotPresent);
    }
}
