//! What a healthy GPU reaches at least under load: the rows of `floors.tsv`.

const ROWS: &str = include_str!("floors.tsv");

/// What a model of GPU reaches at least, in 10^9 bytes a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Floors {
    /// Between main memory and one GPU, either way.
    pub host: f64,
    /// Between two GPUs, over NVSwitches.
    pub peer: f64,
    /// Bus bandwidth of an all-reduce over eight GPUs.
    pub all_reduce: f64,
    /// Whose machines are expected to reach it.
    pub source: &'static str,
}

/// The floors of a model by the name that its driver gives it, whole: an H200 is neither an H200 NVL nor a GH200.
pub fn floors(name: &str) -> Option<Floors> {
    ROWS.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut columns = line.split('\t');
        if columns.next() != Some(name) {
            return None;
        }
        let mut number = || columns.next()?.parse().ok();
        let (host, peer, all_reduce) = (number()?, number()?, number()?);
        Some(Floors { host, peer, all_reduce, source: columns.next()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_read_and_only_whole_names_are_found() {
        for line in ROWS.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split('\t').next().unwrap();
            let found = floors(name).unwrap_or_else(|| panic!("{line}"));
            assert!(found.host < found.peer && !found.source.is_empty(), "{line}");
        }
        assert_eq!(floors("NVIDIA H200").unwrap().all_reduce, 431.0);
        for other in ["NVIDIA GH200 480GB", "NVIDIA H200 NVL", "NVIDIA H100 PCIe", "NVIDIA H100XM-80C", ""] {
            assert_eq!(floors(other), None, "{other}");
        }
    }
}
