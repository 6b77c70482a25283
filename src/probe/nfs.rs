//! `nfs`: how this node's NFS client fares with its servers.

use super::source::Source;
use super::{PROBE_DEADLINE, Probe, answer, schema_of};
use crate::fact::{Absent, Fact};
use schemars::JsonSchema;
use serde::Serialize;

pub(super) const PROBE: Probe = Probe {
    name: "nfs",
    deadline: PROBE_DEADLINE,
    answer: schema_of::<Nfs>,
    arguments: None,
    ask: |source, _, _| answer(&observe(source)?),
};

/// The NFS client. Absent as a whole (not_present) where nothing is mounted by NFS. Nothing here asks a server.
#[derive(Debug, Serialize, JsonSchema)]
struct Nfs {
    /// Requests of all mounts since the client was loaded (/proc/net/rpc/nfs).
    calls: Fact<u64>,
    /// Requests that were sent again because no answer came (/proc/net/rpc/nfs).
    retransmissions: Fact<u64>,
    /// Every NFS mount.
    mounts: Vec<NfsMount>,
}

/// An NFS mount (/proc/self/mountstats).
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(extend("x-subject" = "mount", "x-key" = "mount_point"))]
struct NfsMount {
    /// Where it is mounted.
    mount_point: String,
    /// What is mounted: `nfs1:/export/home`.
    source: String,
    /// Version of the protocol: `4.2` (option vers).
    version: Fact<String>,
    /// `tcp`, `udp` or `rdma` (xprt).
    transport: Fact<String>,
    /// Whether programs wait for a server for ever (hard) or get an error in time (soft).
    hard: Fact<bool>,
    /// How long it has been mounted, in seconds (age).
    age_seconds: Fact<u64>,
    /// Operations that were asked of the server (per-op statistics).
    operations: Fact<u64>,
    /// Requests that were sent again (per-op statistics: transmissions beyond operations).
    retransmissions: Fact<u64>,
    /// Operations that got no answer in the time that the mount gives them (per-op statistics: major timeouts).
    timeouts: Fact<u64>,
    /// How often the connection was made; once is well, and again after each break (xprt).
    connects: Fact<u64>,
    /// Operations that have been waiting for the connection or for an answer, on average for each that was sent
    /// (xprt: backlog).
    backlog: Fact<f64>,
}

fn observe(source: &Source) -> Result<Nfs, Absent> {
    let live = source.is_live() || source.recorded().is_some();
    let (stats, net) =
        if live { ("/proc/self/mountstats", "/proc/net") } else { ("/proc/1/mountstats", "/proc/1/net") };
    let mounts = mounts(&source.text(stats)?);
    if mounts.is_empty() {
        return Err(Absent::not_present("nothing is mounted by NFS"));
    }
    let path = format!("{net}/rpc/nfs");
    let rpc = source.text(&path);
    let number = |place: usize| {
        Fact(rpc.clone().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("rpc "));
            let number = line.and_then(|line| line.split_whitespace().nth(place)?.parse().ok());
            number.ok_or_else(|| Absent::failed(format!("{path}: not what the kernel writes")))
        }))
    };
    Ok(Nfs { calls: number(0), retransmissions: number(1), mounts })
}

fn mounts(text: &str) -> Vec<NfsMount> {
    let mut mounts = Vec::new();
    // Each begins `device SOURCE mounted on PLACE with fstype nfs4 statvers=1.1`.
    for record in format!("\n{text}").split("\ndevice ").skip(1) {
        let (head, body) = record.split_once('\n').unwrap_or((record, ""));
        let Some((source, rest)) = head.split_once(" mounted on ") else { continue };
        let Some((place, kind)) = rest.split_once(" with fstype ") else { continue };
        if kind.split(' ').next().is_some_and(|kind| kind == "nfs" || kind == "nfs4") {
            mounts.push(mount(source, place, body));
        }
    }
    mounts
}

fn mount(source: &str, place: &str, body: &str) -> NfsMount {
    let lines = || body.lines().map(str::trim);
    let missing = |what: &str| Absent::failed(format!("mountstats of {place}: has no {what}"));
    let options = lines().find_map(|line| line.strip_prefix("opts:")).map(str::trim);
    let option =
        |name: &str| options.and_then(|options| options.split(',').find_map(|option| option.strip_prefix(name)));
    // `xprt: tcp SRCPORT BINDS CONNECTS TIME IDLE SENDS RECEIVES BAD_XIDS …`; with nconnect there are several.
    let transports: Vec<Vec<&str>> =
        lines().filter_map(|line| Some(line.strip_prefix("xprt:")?.split_whitespace().collect())).collect();
    let first = transports.first().ok_or_else(|| missing("xprt"));
    let connects: Option<u64> = transports.iter().map(|fields| fields.get(3)?.parse::<u64>().ok()).max().flatten();
    // `READ: OPERATIONS TRANSMISSIONS TIMEOUTS …` below `per-op statistics`.
    let mut operations = lines().skip_while(|line| *line != "per-op statistics").skip(1).filter_map(|line| {
        let (_, numbers) = line.split_once(':')?;
        let mut numbers = numbers.split_whitespace().map(|number| number.parse::<u64>().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    });
    let sums = operations.next().map(|first| {
        operations.fold(first, |sum, next| {
            (sum.0.saturating_add(next.0), sum.1.saturating_add(next.1), sum.2.saturating_add(next.2))
        })
    });
    let sum = |read: fn((u64, u64, u64)) -> u64| Fact(sums.map(read).ok_or_else(|| missing("per-op statistics")));
    let number = |key: &str| lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    NfsMount {
        mount_point: unescaped(place),
        source: unescaped(source),
        version: Fact(option("vers=").map(str::to_string).ok_or_else(|| missing("vers"))),
        transport: Fact(first.clone().map(|fields| fields.first().copied().unwrap_or_default().to_string())),
        hard: Fact(match options {
            Some(options) => Ok(!options.split(',').any(|option| option == "soft" || option == "softerr")),
            None => Err(missing("opts")),
        }),
        age_seconds: Fact(number("age:").ok_or_else(|| missing("age"))),
        operations: sum(|(operations, _, _)| operations),
        retransmissions: sum(|(operations, sent, _)| sent.saturating_sub(operations)),
        timeouts: sum(|(_, _, timeouts)| timeouts),
        connects: Fact(connects.ok_or_else(|| missing("connects"))),
        // The tenth number is the sum over all sends; RDMA has other numbers there.
        backlog: Fact(first.and_then(|fields| {
            let at = |place: usize| fields.get(place).and_then(|word| word.parse::<f64>().ok());
            match (fields.first(), at(6), at(10)) {
                (Some(&"tcp"), Some(sends), Some(backlog)) if sends > 0.0 => Ok(backlog / sends),
                (Some(&"tcp"), Some(_), Some(_)) => Ok(0.0),
                _ => Err(Absent::not_supported("this transport does not tell")),
            }
        })),
    }
}

/// The kernel writes spaces in paths as `\040`.
fn unescaped(text: &str) -> String {
    text.replace("\\040", " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Reason;
    use crate::probe::source::{Recorded, tree_of};

    const STATS: &str = "device rootfs mounted on / with fstype rootfs
device nfs1:/export/home mounted on /home with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2,rsize=1048576,namlen=255,hard,proto=tcp
\tage:\t86400
\txprt:\ttcp 900 1 3 0 1 1000 1000 0 5000 500 16 0 0
\txprt:\ttcp 901 1 2 0 1 1000 1000 0 5000 500 16 0 0
\tper-op statistics
\t        NULL: 1 1 0 44 24 0 0 0 0
\t        READ: 100 107 2 0 0 0 0 0 0
\t       WRITE: x
device a:/b mounted on /my\\040data with fstype nfs statvers=1.1
\topts:\tro,soft
";

    #[test]
    fn mounts_are_read_with_their_counters() {
        let (_dir, source) = tree_of(
            &[("proc/self/mountstats", STATS), ("proc/net/rpc/nfs", "net 0 0 0 0\nrpc 5000 7 5000\n")],
            Recorded::default(),
        );
        let seen = observe(&source).unwrap();
        assert_eq!((seen.calls, seen.retransmissions), (Fact(Ok(5000)), Fact(Ok(7))));
        let home = &seen.mounts[0];
        assert_eq!((home.mount_point.as_str(), &home.version), ("/home", &Fact(Ok("4.2".into()))));
        assert_eq!(
            (&home.operations, &home.retransmissions, &home.timeouts),
            (&Fact(Ok(101)), &Fact(Ok(7)), &Fact(Ok(2)))
        );
        assert_eq!((&home.connects, &home.hard, &home.age_seconds), (&Fact(Ok(3)), &Fact(Ok(true)), &Fact(Ok(86400))));
        assert_eq!(home.backlog, Fact(Ok(0.5)));
        let data = &seen.mounts[1];
        assert_eq!((data.mount_point.as_str(), &data.hard), ("/my data", &Fact(Ok(false))));
        for absent in
            [data.operations.0.as_ref().err(), data.connects.0.as_ref().err(), data.age_seconds.0.as_ref().err()]
        {
            assert_eq!(absent.unwrap().reason, Reason::Failed);
        }
    }

    #[test]
    fn garbage_and_nodes_without_nfs_have_no_mounts() {
        for text in ["", "device / mounted on / with fstype ext4\n", "\u{0}\u{1}device ", "device x mounted on"] {
            let (_dir, source) = tree_of(&[("proc/self/mountstats", text)], Recorded::default());
            assert_eq!(observe(&source).unwrap_err().reason, Reason::NotPresent);
        }
    }
}
