//! Names of users and groups, from the asked machine's own text files only: a directory service may hang, and on
//! another root it would answer for the wrong machine.

use super::source::Source;
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
}
