//! `write_test`: whether a folder takes data, keeps it and gives it back, and how fast.

use super::source::{Source, plain_io_text};
use super::{Probe, answer, arguments_of, schema_of};
use crate::fact::{Absent, Fact};
use rustix::fs::{Advice, fadvise};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) const PROBE: Probe = Probe {
    name: "write_test",
    // A shared file system under load may take its time; one that hangs is told of by `mounts` in three seconds.
    deadline: Duration::from_secs(120),
    answer: schema_of::<WriteTest>,
    arguments: Some(schema_of::<WriteTestArguments>),
    ask: |source, arguments, _| answer(&observe(source, &arguments_of(arguments)?)?),
};

/// Where to write, and how much.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WriteTestArguments {
    /// A folder. The file in it has no name for longer than a moment, so nothing is left behind, whatever happens.
    path: String,
    /// How many bytes to write: 256 MiB if left out, at most 16 GiB.
    #[serde(default = "default_size_bytes")]
    #[schemars(range(min = 1, max = 17179869184_u64))]
    size_bytes: u64,
}

fn default_size_bytes() -> u64 {
    256 << 20
}

const MOST_BYTES: u64 = 16 << 30;

/// What came of writing a file, waiting until it is on disk, and reading it again. It loads the node, so only a check
/// with `effect: loads` may ask it.
#[derive(Debug, Serialize, JsonSchema)]
struct WriteTest {
    /// Whether everything could be written.
    written: bool,
    /// Why not. Absent (not_present) where it could.
    error: Fact<String>,
    /// Whether what was read is what was written. Absent (not_present) where nothing was.
    same: Fact<bool>,
    /// How fast it was written, until it was on disk (fsync), in millions of bytes a second.
    write_mbytes_per_second: Fact<f64>,
    /// How fast it was read, in millions of bytes a second. The kernel was asked to forget it first, and may not have.
    read_mbytes_per_second: Fact<f64>,
}

/// What is written at a time.
const CHUNK: usize = 1 << 20;

fn observe(source: &Source, arguments: &WriteTestArguments) -> Result<WriteTest, Absent> {
    if !source.is_live() {
        return Err(Absent::not_present("a recorded machine cannot be written to"));
    }
    if arguments.size_bytes == 0 || arguments.size_bytes > MOST_BYTES {
        return Err(Absent::failed(format!("size_bytes: expected 1 to {MOST_BYTES}, found {}", arguments.size_bytes)));
    }
    let folder = source.path(&arguments.path)?;
    let none = |what: &str| Fact(Err(Absent::not_present(what)));
    match write(&folder, arguments.size_bytes) {
        Err(error) => Ok(WriteTest {
            written: false,
            error: plain_io_text(&error).into(),
            same: none("nothing was written"),
            write_mbytes_per_second: Fact(Err(Absent::not_present("nothing was written"))),
            read_mbytes_per_second: Fact(Err(Absent::not_present("nothing was written"))),
        }),
        Ok((file, write_time)) => {
            let read = read_again(file, arguments.size_bytes).map_err(|error| Absent::failed(plain_io_text(&error)));
            let speed = |time: Duration| arguments.size_bytes as f64 / 1e6 / time.as_secs_f64().max(1e-9);
            Ok(WriteTest {
                written: true,
                error: Fact(Err(Absent::not_present("it could be written"))),
                same: Fact(read.clone().map(|(same, _)| same)),
                write_mbytes_per_second: speed(write_time).into(),
                read_mbytes_per_second: Fact(read.map(|(_, time)| speed(time))),
            })
        }
    }
}

/// Differs from place to place, so that what comes back from elsewhere is noticed; and does not compress well.
fn fill(chunk: &mut [u8], number: u64) {
    // A linear congruential generator with Knuth's constants for 64 bits (MMIX).
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for word in chunk.chunks_mut(8) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        word.copy_from_slice(&state.to_be_bytes()[..word.len()]);
    }
}

fn write(folder: &Path, size: u64) -> io::Result<(File, Duration)> {
    // Without a name from the start where the file system can do that, else removed at once.
    let mut file = tempfile::tempfile_in(folder)?;
    let mut chunk = vec![0; CHUNK];
    let mut time = Duration::ZERO;
    let mut left = size;
    while left > 0 {
        let length = left.min(CHUNK as u64) as usize;
        fill(&mut chunk[..length], left);
        let began = Instant::now();
        file.write_all(&chunk[..length])?;
        time += began.elapsed();
        left -= length as u64;
    }
    let began = Instant::now();
    file.sync_all()?;
    Ok((file, time + began.elapsed()))
}

fn read_again(mut file: File, size: u64) -> io::Result<(bool, Duration)> {
    // Only a hint; where it fails the speed is that of memory.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    file.rewind()?;
    let (mut read, mut expected) = (vec![0; CHUNK], vec![0; CHUNK]);
    let (mut same, mut time) = (true, Duration::ZERO);
    let mut left = size;
    while left > 0 {
        let length = left.min(CHUNK as u64) as usize;
        let began = Instant::now();
        file.read_exact(&mut read[..length])?;
        time += began.elapsed();
        fill(&mut expected[..length], left);
        same &= read[..length] == expected[..length];
        left -= length as u64;
    }
    Ok((same, time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::parts::Silent;
    use serde_json::json;

    #[test]
    fn a_folder_takes_keeps_and_gives_back_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let ask =
            |path: &str, size: u64| (PROBE.ask)(&Source::live(), &json!({"path": path, "size_bytes": size}), &Silent);
        let found = ask(path, 3_000_001).unwrap();
        assert_eq!((&found["written"], &found["same"]), (&json!(true), &json!(true)));
        assert!(found["write_mbytes_per_second"].as_f64().unwrap() > 0.0, "{found}");
        assert!(found["read_mbytes_per_second"].as_f64().unwrap() > 0.0, "{found}");
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
        let found = ask("/proc", 10).unwrap();
        assert_eq!((&found["written"], &found["same"]["absent"]), (&json!(false), &json!("not_present")));
        assert!(found["error"].as_str().unwrap().len() > 3, "{found}");
        assert_eq!(ask(path, 0).unwrap_err().reason, crate::fact::Reason::Failed);
    }

    #[test]
    fn what_comes_back_changed_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, _) = write(folder.path(), 3_000_000).unwrap();
        assert!(read_again(file.try_clone().unwrap(), 3_000_000).unwrap().0);
        file.seek(io::SeekFrom::Start(2_500_000)).unwrap();
        file.write_all(b"other").unwrap();
        assert!(!read_again(file, 3_000_000).unwrap().0);
    }
}
