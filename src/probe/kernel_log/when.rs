//! When a line of a kernel log was written, in the many ways in which logs say that.

use super::super::host::{self, rfc3339};
use super::super::source::Source;
use crate::fact::{Absent, Fact};
use chrono::{DateTime, Datelike, Local, NaiveDateTime, TimeDelta, Utc};

/// How far a wall clock may be off before a line counts as one of an earlier boot, in seconds: clocks are set only
/// some time after the first lines are written.
const SLACK: i64 = 60;

/// What it takes to turn the times of a log into each other.
pub(super) struct Clock {
    now: DateTime<Utc>,
    boot: Result<DateTime<Utc>, Absent>,
    /// Whether times without a zone are in ours.
    is_ours: bool,
}

/// When a line was written, as far as it says so.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct When {
    /// Whole seconds since boot.
    pub(super) seconds: Option<u64>,
    /// By the wall clock.
    pub(super) time: Option<DateTime<Utc>>,
}

impl Clock {
    pub(super) fn new(source: &Source) -> Clock {
        let now = source.now();
        let boot = host::uptime(source).and_then(|uptime| {
            let since = i64::try_from(uptime).ok().and_then(TimeDelta::try_seconds);
            let boot = since.and_then(|since| now.checked_sub_signed(since));
            boot.ok_or_else(|| Absent::failed(format!("/proc/uptime: {uptime} seconds")))
        });
        Clock { now, boot, is_ours: source.is_live() }
    }

    /// Seconds since boot.
    pub(super) fn seconds(&self, when: When) -> Fact<u64> {
        Fact(match (when.seconds, when.time) {
            (Some(seconds), _) => Ok(seconds),
            (None, Some(time)) => {
                let boot = self.boot.as_ref().map_err(Clone::clone);
                boot.map(|boot| u64::try_from((time - *boot).num_seconds()).unwrap_or_default())
            }
            (None, None) => Err(untold()),
        })
    }

    /// The moment, RFC 3339.
    pub(super) fn time(&self, when: When) -> Fact<String> {
        Fact(match (when.time, when.seconds) {
            (Some(time), _) => Ok(rfc3339(time)),
            (None, Some(seconds)) => self.boot.clone().and_then(|boot| {
                let since = i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds);
                let time = since.and_then(|since| boot.checked_add_signed(since));
                time.map(rfc3339).ok_or_else(|| Absent::failed(format!("{seconds} seconds after boot")))
            }),
            (None, None) => Err(untold()),
        })
    }

    /// Whether a line was written before this boot. Only the wall clock can tell.
    pub(super) fn is_before_boot(&self, when: When) -> bool {
        match (when.time, &self.boot) {
            (Some(time), Ok(boot)) => (time - *boot).num_seconds() < -SLACK,
            _ => false,
        }
    }

    /// Reads what stands before the message of a line:
    /// `[ 12.345678]` (dmesg), `[Sun Apr 26 23:58:42 2026]` (dmesg -T), `kern  :warn  : 2026-01-21T04:41:44,283302+00:00`
    /// (dmesg -x), `1700000000.123456 host kernel:` (journalctl -o short-unix), `Jan 16 14:53:01 host kernel:` and
    /// `2026-01-21T04:41:44.283302+00:00 host kernel:` (syslog), also with `[ 12.345678]`, and `4,1227,437812,-;` (kmsg).
    pub(super) fn read(&self, prefix: &str) -> Option<When> {
        if let Some(microseconds) = prefix.split_once(';').and_then(|(head, _)| kmsg_microseconds(head)) {
            return Some(When { seconds: Some(microseconds / 1_000_000), time: None });
        }
        let brackets = || prefix.split('[').skip(1).filter_map(|rest| Some(rest.split_once(']')?.0.trim()));
        let seconds = brackets().find_map(|inside| number_with_point(inside).filter(|seconds| *seconds < 1 << 40));
        // In brackets there is a day only where there are no seconds since boot.
        let bracketed = if seconds.is_none() { brackets().find_map(|inside| self.day(inside)) } else { None };
        let time = bracketed.or_else(|| self.day(prefix.split('[').next().unwrap_or_default()));
        (seconds.is_some() || time.is_some()).then_some(When { seconds, time })
    }

    /// The wall clock's time at the beginning of `text`, or after a level and facility.
    fn day(&self, text: &str) -> Option<DateTime<Utc>> {
        let mut words = text.split_ascii_whitespace();
        let first = words.next()?;
        if let Some(unix) = number_with_point(first).filter(|unix| (100_000_000..1 << 40).contains(unix)) {
            return DateTime::from_timestamp(i64::try_from(unix).ok()?, 0);
        }
        if is_month(first) {
            let (day, clock) = (words.next()?, words.next()?);
            let year = self.now.year();
            let of = |year: i32| self.ours(&format!("{year} {first} {day} {clock}"), "%Y %b %d %H:%M:%S");
            // A line from December, read in January.
            return of(year).filter(|time| *time <= self.now + TimeDelta::days(1)).or_else(|| of(year - 1));
        }
        // `Sun Apr 26 23:58:42 2026`
        let month = words.next();
        if month.is_some_and(is_month) && first.len() == 3 {
            return self.ours(text.trim(), "%a %b %d %H:%M:%S %Y");
        }
        text.split_ascii_whitespace().take(4).find_map(day_with_zone)
    }

    /// A time without a zone. Of another machine nobody can tell which one was meant.
    fn ours(&self, text: &str, format: &str) -> Option<DateTime<Utc>> {
        let naive = self.is_ours.then(|| NaiveDateTime::parse_from_str(text, format).ok())??;
        Some(naive.and_local_timezone(Local).earliest()?.to_utc())
    }
}

fn untold() -> Absent {
    Absent::not_supported("the line does not tell its time, or not its time zone")
}

fn is_month(word: &str) -> bool {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    word.len() == 3 && MONTHS.find(word).is_some_and(|at| at % 3 == 0)
}

/// `2026-01-21T04:41:44,283302+00:00`, also with a point, and with `+0000`.
fn day_with_zone(word: &str) -> Option<DateTime<Utc>> {
    let bytes = word.as_bytes();
    if !(20..=40).contains(&bytes.len()) || bytes[4] != b'-' || bytes[10] != b'T' {
        return None;
    }
    let mut text = word.trim_end_matches(':').replace(',', ".");
    let zone = text.len().saturating_sub(5);
    if text.is_char_boundary(zone) && text[zone..].starts_with(['+', '-']) && !text[zone..].contains(':') {
        text.insert(zone + 3, ':');
    }
    Some(DateTime::parse_from_rfc3339(&text).ok()?.to_utc())
}

/// The whole part of `1234.567`. What has no point is something else, such as the number of a thread.
fn number_with_point(text: &str) -> Option<u64> {
    let (whole, rest) = text.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(rest)).then(|| whole.parse().ok())?
}

/// The third field of what stands before the `;` of a record of /dev/kmsg.
pub(super) fn kmsg_microseconds(head: &str) -> Option<u64> {
    let mut fields = head.rsplit(' ').next()?.split(',');
    let (_level, _number) = (fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u64>().ok()?);
    fields.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        Clock { now: at("2026-01-21T12:00:00Z"), boot: Ok(at("2026-01-21T00:00:00Z")), is_ours: false }
    }

    #[test]
    fn seconds_since_boot_are_read_wherever_they_stand() {
        for prefix in [
            "[   77.123456] ",
            "[   77.123456] [ T1946] ",
            "[ 77.05 ] ",
            "<12>[77.1] nvidia-nvswitch0: ",
            "4,1227,77812449,-;",
            "kern  :info  : [   77.000000] ",
        ] {
            let expected = When { seconds: Some(77), time: None };
            assert_eq!(clock().read(prefix), Some(expected), "{prefix}");
        }
        let both = clock().read("2026-01-20T04:00:00+00:00 node7 kernel: [   77.9] ").unwrap();
        assert_eq!((both.seconds, both.time.map(rfc3339).as_deref()), (Some(77), Some("2026-01-20T04:00:00Z")));
        assert!(clock().is_before_boot(both));
    }

    #[test]
    fn the_wall_clock_is_turned_into_seconds_since_boot() {
        for prefix in [
            "2026-01-21T00:01:17.5+00:00 node7 kernel: ",
            "2026-01-21T01:01:17+0100 node7 kernel: ",
            "kern  :warn  : 2026-01-21T00:01:17,283302+00:00 ",
            "1768953677.123456 node7 kernel: ",
            "10.0.0.7: kern: warning: [2026-01-21T00:01:17.25Z]: ",
        ] {
            let when = clock().read(prefix).unwrap_or_else(|| panic!("{prefix}"));
            assert_eq!(clock().seconds(when), Fact(Ok(77)), "{prefix}");
            assert_eq!(clock().time(when), Fact(Ok("2026-01-21T00:01:17Z".into())), "{prefix}");
        }
        let since_boot = When { seconds: Some(77), time: None };
        assert_eq!(clock().time(since_boot), Fact(Ok("2026-01-21T00:01:17Z".into())));
    }

    #[test]
    fn a_time_without_a_zone_is_known_on_this_machine_only() {
        for prefix in
            ["Jan 21 00:01:17 node7 kernel: ", "[Wed Jan 21 00:01:17 2026] ", "Dec 31 23:00:00 node7 kernel: "]
        {
            assert_eq!(clock().read(prefix), None, "{prefix}");
            let ours = Clock { is_ours: true, ..clock() };
            let time = ours.read(prefix).and_then(|when| when.time).unwrap_or_else(|| panic!("{prefix}"));
            assert!(time <= ours.now, "{prefix}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for prefix in
            ["", "   ", "kernel: ", "[ T12] ", "[99999999999999999999.1] ", "[mem 0x0-0xf] ", "1,2;", "é", "Jan"]
        {
            assert_eq!(clock().read(prefix), None, "{prefix}");
        }
        assert!(clock().seconds(When::default()).0.is_err());
        let huge = When { seconds: Some(u64::MAX), time: None };
        assert!(clock().time(huge).0.is_err());
    }
}
