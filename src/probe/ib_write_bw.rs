//! `ib_write_bw`: what a port of an RDMA adapter moves from this node to itself, by perftest's own program.

use super::source::{Source, clipped};
use super::{Probe, answer, arguments_of, schema_of};
use crate::fact::Absent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const PROBE: Probe = Probe {
    name: "ib_write_bw",
    // The longest test that can be asked for, and the patience for both ends.
    deadline: Duration::from_secs(120),
    answer: schema_of::<IbWriteBw>,
    arguments: Some(schema_of::<IbWriteBwArguments>),
    ask: |source, arguments, progress| {
        let arguments: IbWriteBwArguments = arguments_of(arguments)?;
        answer(&observe(source, &arguments, &|group| progress.started(group))?)
    },
};

/// Which port, and with what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct IbWriteBwArguments {
    /// The program: `ib_write_bw`, or the path of the site's own build.
    #[serde(default = "default_program")]
    program: String,
    /// The adapter: `mlx5_0`.
    name: String,
    /// The number of its port, from 1; 1 if left out.
    #[serde(default = "one")]
    port: u64,
    /// How long data is moved, in seconds: 3 if left out, at most 60.
    #[serde(default = "default_seconds")]
    #[schemars(range(min = 1, max = 60))]
    seconds: u64,
}

fn default_program() -> String {
    "ib_write_bw".into()
}

fn one() -> u64 {
    1
}

fn default_seconds() -> u64 {
    3
}

const LONGEST_SECONDS: u64 = 60;
/// How long both ends may take besides: registering memory on a large node, and finding each other.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the end that connects tries again while the other one is still starting.
const TO_CONNECT: Duration = Duration::from_secs(10);
const OUTPUT_BYTES: usize = 256 << 10;
/// The TCP port by which both ends find each other in a recording: perftest's own.
const RECORDED_TCP_PORT: u16 = 18515;

/// What a port moved from this node to itself: both ends of perftest's `ib_write_bw` ran on it, with messages of 1 MiB on
/// two queue pairs and without GPUs. It loads the node, so only a check with `effect: loads` may ask it. Absent
/// (not present) where the program is not installed, (failed) with what it said where it found no figure.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct IbWriteBw {
    /// Average, in Gbit/s (10^9 bits).
    average_gbps: f64,
}

fn observe(
    source: &Source,
    arguments: &IbWriteBwArguments,
    started: &(dyn Fn(u32) + Sync),
) -> Result<IbWriteBw, Absent> {
    if arguments.seconds == 0 || arguments.seconds > LONGEST_SECONDS {
        return Err(Absent::failed(format!("seconds: expected 1 to {LONGEST_SECONDS}, found {}", arguments.seconds)));
    }
    let tcp_port = if source.is_live() { free_tcp_port()? } else { RECORDED_TCP_PORT };
    let argv = argv(arguments, tcp_port);
    let limit = Duration::from_secs(arguments.seconds) + PATIENCE;
    let run = |argv: &[String]| source.command(argv, limit, OUTPUT_BYTES, &|group| started(group));
    let connecting: Vec<String> = argv.iter().cloned().chain(["127.0.0.1".to_string()]).collect();
    if !source.is_live() {
        return read(run(&connecting)?);
    }
    thread::scope(|scope| {
        let waiting = scope.spawn(|| run(&argv));
        let until = Instant::now() + TO_CONNECT;
        loop {
            thread::sleep(Duration::from_millis(200));
            let waits = !waiting.is_finished();
            let output = run(&connecting);
            let failed = output.as_ref().is_ok_and(|output| output.exit != Some(0));
            // Both ends are the same program: what keeps the one from starting is said by the other as well.
            if !(failed && waits && Instant::now() < until) {
                return read(output?);
            }
        }
    })
}

fn argv(arguments: &IbWriteBwArguments, tcp_port: u16) -> Vec<String> {
    let IbWriteBwArguments { program, name, port, seconds } = arguments;
    let text = format!(
        "{program}\n-d\n{name}\n-i\n{port}\n-p\n{tcp_port}\n-s\n1048576\n-q\n2\n-D\n{seconds}\n-F\n--report_gbits"
    );
    text.split('\n').map(str::to_string).collect()
}

/// One that nobody listens on now.
fn free_tcp_port() -> Result<u16, Absent> {
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    port.map(|address| address.port()).map_err(|error| Absent::failed(format!("no free TCP port: {error}")))
}

fn read(output: super::subprocess::Output) -> Result<IbWriteBw, Absent> {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.exit == Some(0)
        && let Some(average_gbps) = average_gbps(&stdout)
    {
        return Ok(IbWriteBw { average_gbps });
    }
    let lines = || stderr.lines().chain(stdout.lines()).map(str::trim).filter(|line| !line.is_empty());
    let said = lines().find(|line| line.chars().any(char::is_alphabetic)).unwrap_or("it printed nothing");
    let ended = output.exit.map_or("a signal ended it".to_string(), |exit| format!("exit status {exit}"));
    Err(Absent::failed(format!("no bandwidth, {ended}: {}", clipped(said))))
}

/// The average in the table that it prints, in Gbit/s. The columns differ by version and option, so their heads are read;
/// what stands between head and figures (warnings of the processor's clock) is passed over.
fn average_gbps(text: &str) -> Option<f64> {
    let mut lines = text.lines().skip_while(|line| !line.contains("average["));
    // "BW peak[Gb/sec]" is one head in two words.
    let heads: Vec<&str> = lines.next()?.split_whitespace().filter(|word| *word != "BW").collect();
    let column = heads.iter().position(|head| head.starts_with("average["))?;
    let unit = heads[column].strip_prefix("average[")?.strip_suffix(']')?;
    let gbps = match unit {
        "Gb/sec" => 1.0,
        // Of 2^20 bytes whichever way it is written; only newer versions write it so.
        "MB/sec" | "MiB/sec" => 8.0 * 1_048_576.0 / 1e9,
        _ => return None,
    };
    let figures = lines.map(|line| line.split_whitespace().map(str::parse::<f64>).collect::<Result<Vec<f64>, _>>());
    let figures = figures.flatten().find(|figures| figures.len() > column)?;
    Some(figures[column] * gbps).filter(|average| average.is_finite() && *average > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Reason;
    use crate::probe::parts::Silent;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    #[test]
    fn tables_of_all_versions_are_read() {
        let rounded = |text: &str| average_gbps(text).map(|gbps| (gbps * 100.0).round() / 100.0);
        let now = "Link type : IB\n #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]\n 1048576    140000           0.00               391.47             0.046668\n";
        assert_eq!(rounded(now), Some(391.47));
        let old = " #bytes     #iterations    BW peak[MB/sec]    BW average[MB/sec]\n 65536      5000           11000.10           10900.00\n";
        assert_eq!(rounded(old), Some(91.44));
        let units = old.replace("MB/sec", "MiB/sec");
        assert_eq!(rounded(&units), Some(91.44));
        let warned = now.replace(
            "MsgRate[Mpps]\n",
            "MsgRate[Mpps]\tCPU_Util[%]\nConflicting CPU frequency values detected: 800.0 != 3500.0. CPU Frequency is not max.\n",
        );
        assert_eq!(rounded(&warned), Some(391.47));
        for none in [
            "",
            " #bytes #iterations BW peak[Gb/sec] BW average[Gb/sec]\n",
            &now.replace("Gb/sec", "furlongs/sec"),
            &now.replace("391.47", "nan"),
            &now.replace("391.47", "0.00"),
        ] {
            assert_eq!(average_gbps(none), None, "{none}");
        }
    }

    /// A stand-in for the program: the end that waits waits for the other one through files.
    fn stand_in(folder: &Path, connecting: &str) -> String {
        let path = folder.join("ib_write_bw");
        let here = folder.display();
        let script = format!(
            "#!/bin/sh\nfor last in \"$@\"; do :; done\nif [ \"$last\" = 127.0.0.1 ]; then\n{connecting}\nelse\n\
             while ! [ -e {here}/met ]; do sleep 0.05; done\nfi\n"
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    #[test]
    fn both_ends_run_and_the_figure_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().display();
        // At first nobody listens yet.
        let program = stand_in(
            folder.path(),
            &format!(
                "if ! [ -e {here}/tried ]; then touch {here}/tried; echo \"Couldn't connect to 127.0.0.1\" >&2; exit 1; fi\n\
                 touch {here}/met\necho '#bytes #iterations BW peak[Gb/sec] BW average[Gb/sec] MsgRate[Mpps]'\necho '1048576 10 0.00 196.50 0.02'"
            ),
        );
        let arguments = json!({"program": program, "name": "mlx5_0", "seconds": 1});
        assert_eq!((PROBE.ask)(&Source::live(), &arguments, &Silent).unwrap(), json!({"average_gbps": 196.5}));
    }

    #[test]
    fn what_gives_no_figure_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().display();
        let program = stand_in(folder.path(), &format!("touch {here}/met; echo 'IB device mlx5_7 not found'; exit 1"));
        let ask = |arguments| (PROBE.ask)(&Source::live(), &arguments, &Silent).unwrap_err();
        let absent = ask(json!({"program": program, "name": "mlx5_7", "seconds": 1}));
        assert_eq!(absent.reason, Reason::Failed);
        assert_eq!(absent.detail, "no bandwidth, exit status 1: IB device mlx5_7 not found");
        assert_eq!(ask(json!({"program": "no-such-tool-here", "name": "x"})).reason, Reason::NotPresent);
        assert_eq!(ask(json!({"name": "x", "seconds": 0})).reason, Reason::Failed);
    }
}
