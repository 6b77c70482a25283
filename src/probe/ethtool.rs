//! What the driver of a network interface says to ethtool's questions (ioctl SIOCETHTOOL of linux/ethtool.h).

use super::source::{RecordedAdapter, Source, absent_from_io};
use crate::fact::{Absent, Fact};
use schemars::JsonSchema;
use serde::Serialize;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What the driver of an interface says of its adapter (ethtool(8)).
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Adapter {
    /// Whether it negotiates speed and duplex with the other side.
    autonegotiates: Fact<bool>,
    /// Speeds that the adapter has, in Mbit/s, ascending. Absent (not_supported) where the driver names none.
    supported_mbps: Fact<Vec<u64>>,
    /// Speeds that it offers to the other side, in Mbit/s. Absent as `supported_mbps` is.
    offered_mbps: Fact<Vec<u64>>,
    /// Speeds that the other side offers, in Mbit/s. Absent (not_supported) where the driver does not tell, as most do
    /// not above 10 Gbit/s.
    partner_mbps: Fact<Vec<u64>>,
    /// Places for packets that were received and not fetched yet.
    receive_ring: Fact<Ring>,
    /// Places for packets that wait to be sent.
    send_ring: Fact<Ring>,
    /// Whether it stops sending when the other side asks for a pause.
    heeds_pause: Fact<bool>,
    /// Whether it asks the other side for a pause when it has no room.
    asks_for_pause: Fact<bool>,
    /// Version of its firmware. Absent (not_supported) where the driver names none.
    firmware: Fact<String>,
}

/// The places of a ring.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Ring {
    /// How many there are.
    size: u64,
    /// How many there can be.
    most: u64,
}

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GRINGPARAM: u32 = 0x10;
const ETHTOOL_GPAUSEPARAM: u32 = 0x12;
const ETHTOOL_GLINKSETTINGS: u32 = 0x4c;
/// struct ethtool_link_settings before its three bit maps.
const LINK_HEAD: usize = 48;
/// Where that has `autoneg` and `link_mode_masks_nwords`.
const LINK_AUTONEG: usize = 11;
const LINK_WORDS: usize = 15;
/// The most words a bit map may have (SCHAR_MAX).
const MOST_WORDS: usize = 127;
/// struct ethtool_drvinfo, and where it has `fw_version`.
const DRVINFO: usize = 196;
const DRVINFO_FIRMWARE: std::ops::Range<usize> = 68..100;

/// Speeds in Mbit/s of the bits of a link mode map: first bit, last bit, speed (enum ethtool_link_mode_bit_indices).
/// Bits between them stand for connectors, pauses and error correction.
const SPEEDS: &[(usize, usize, u64)] = &[
    (0, 1, 10),
    (2, 3, 100),
    (4, 5, 1_000),
    (12, 12, 10_000),
    (15, 15, 2_500),
    (17, 17, 1_000),
    (18, 20, 10_000),
    (21, 22, 20_000),
    (23, 26, 40_000),
    (27, 30, 56_000),
    (31, 33, 25_000),
    (34, 35, 50_000),
    (36, 39, 100_000),
    (40, 40, 50_000),
    (41, 41, 1_000),
    (42, 46, 10_000),
    (47, 47, 2_500),
    (48, 48, 5_000),
    (52, 56, 50_000),
    (57, 61, 100_000),
    (62, 66, 200_000),
    (67, 67, 100),
    (68, 68, 1_000),
    (69, 73, 400_000),
    (75, 79, 100_000),
    (80, 84, 200_000),
    (85, 89, 400_000),
    (90, 91, 100),
    (92, 92, 10),
    (93, 98, 800_000),
    (99, 102, 10),
    (103, 108, 200_000),
    (109, 114, 400_000),
    (115, 120, 800_000),
];

/// Asks the driver of `interface`. May hang as long as the driver does.
pub(super) fn ask(source: &Source, interface: &str) -> Result<Adapter, Absent> {
    if let Some(recorded) = source.recorded() {
        let unknown = || Absent::not_present("what its driver says was not recorded");
        return recorded.adapters.get(interface).map(from_recording).ok_or_else(unknown);
    }
    source.sees_network()?;
    // SAFETY: socket(2) takes no memory, and what it returns is ours alone.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(absent_from_io("socket", &io::Error::last_os_error()));
        }
        OwnedFd::from_raw_fd(fd)
    };
    let call = |question: &mut [u32]| call(&socket, interface, question);
    let link = link_settings(call);
    let speeds = |map: usize| {
        Fact(link.as_ref().map_err(Clone::clone).and_then(|link| match speeds(&link.maps[map]) {
            speeds if speeds.is_empty() => Err(Absent::not_supported("the driver names none")),
            speeds => Ok(speeds),
        }))
    };
    let mut rings = [0u32; 9];
    rings[0] = ETHTOOL_GRINGPARAM;
    let rings = call(&mut rings).map(|()| rings);
    let ring = |size: usize, most: usize| {
        let ring = |rings: &[u32; 9]| Ring { size: u64::from(rings[size]), most: u64::from(rings[most]) };
        Fact(rings.as_ref().map(ring).map_err(Clone::clone))
    };
    let mut pause = [ETHTOOL_GPAUSEPARAM, 0, 0, 0];
    let pause = call(&mut pause).map(|()| pause);
    let mut info = [0u32; DRVINFO / 4];
    info[0] = ETHTOOL_GDRVINFO;
    let firmware = call(&mut info).and_then(|()| {
        let bytes: Vec<u8> = info.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let text = bytes[DRVINFO_FIRMWARE].split(|byte| *byte == 0).next().unwrap_or_default();
        match String::from_utf8_lossy(text).trim() {
            "" | "N/A" => Err(Absent::not_supported("the driver names none")),
            text => Ok(text.to_string()),
        }
    });
    Ok(Adapter {
        autonegotiates: Fact(link.as_ref().map(|link| link.autonegotiates).map_err(Clone::clone)),
        supported_mbps: speeds(0),
        offered_mbps: speeds(1),
        partner_mbps: speeds(2),
        receive_ring: ring(5, 1),
        send_ring: ring(8, 4),
        heeds_pause: Fact(pause.as_ref().map(|pause| pause[2] != 0).map_err(Clone::clone)),
        asks_for_pause: Fact(pause.map(|pause| pause[3] != 0)),
        firmware: Fact(firmware),
    })
}

struct Link {
    autonegotiates: bool,
    /// What the adapter has, what it offers, what the other side offers.
    maps: [Vec<u32>; 3],
}

/// The kernel first tells how long its maps are, as a negative number, and then fills them in.
fn link_settings(call: impl Fn(&mut [u32]) -> Result<(), Absent>) -> Result<Link, Absent> {
    let mut head = [0u32; LINK_HEAD / 4];
    head[0] = ETHTOOL_GLINKSETTINGS;
    call(&mut head)?;
    let words = usize::from((byte(&head, LINK_WORDS) as i8).unsigned_abs());
    if (byte(&head, LINK_WORDS) as i8) >= 0 || words > MOST_WORDS {
        return Err(Absent::failed("the kernel does not say how many link modes it knows"));
    }
    let mut whole = vec![0u32; LINK_HEAD / 4 + 3 * words];
    whole[0] = ETHTOOL_GLINKSETTINGS;
    let place = LINK_WORDS / 4;
    let mut bytes = whole[place].to_ne_bytes();
    bytes[LINK_WORDS % 4] = words as u8;
    whole[place] = u32::from_ne_bytes(bytes);
    call(&mut whole)?;
    let map = |number: usize| whole[LINK_HEAD / 4 + number * words..][..words].to_vec();
    Ok(Link { autonegotiates: byte(&whole, LINK_AUTONEG) == 1, maps: [map(0), map(1), map(2)] })
}

fn byte(words: &[u32], at: usize) -> u8 {
    words[at / 4].to_ne_bytes()[at % 4]
}

fn speeds(map: &[u32]) -> Vec<u64> {
    let is_set = |bit: usize| map.get(bit / 32).is_some_and(|word| word >> (bit % 32) & 1 == 1);
    let mut speeds: Vec<u64> =
        SPEEDS.iter().filter(|(first, last, _)| (*first..=*last).any(is_set)).map(|(_, _, speed)| *speed).collect();
    speeds.sort_unstable();
    speeds.dedup();
    speeds
}

/// One question: a structure of ethtool.h that begins with its number, and is answered in place.
fn call(socket: &OwnedFd, interface: &str, question: &mut [u32]) -> Result<(), Absent> {
    let number = question.first().copied().unwrap_or_default();
    // SAFETY: all zeros is a valid ifreq; the kernel writes the answer into `question`, which is as long as the
    // structure of this question, and outlives the call.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        if interface.len() >= request.ifr_name.len() {
            return Err(Absent::failed("the name of the interface is too long"));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = question.as_mut_ptr().cast();
        libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &mut request)
    };
    if result >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOTTY) => Absent::not_supported("the driver does not tell"),
        _ => absent_from_io(&format!("ethtool's question {number:#x} of {interface}"), &error),
    })
}

fn from_recording(recorded: &RecordedAdapter) -> Adapter {
    fn fact<T: Clone>(value: &Option<T>) -> Fact<T> {
        Fact(value.clone().ok_or_else(|| Absent::not_supported("the driver does not tell")))
    }
    let ring = |ring: &Option<(u64, u64)>| Fact(fact(ring).0.map(|(size, most)| Ring { size, most }));
    Adapter {
        autonegotiates: fact(&recorded.autonegotiates),
        supported_mbps: fact(&recorded.supported_mbps),
        offered_mbps: fact(&recorded.offered_mbps),
        partner_mbps: fact(&recorded.partner_mbps),
        receive_ring: ring(&recorded.receive_ring),
        send_ring: ring(&recorded.send_ring),
        heeds_pause: Fact(fact(&recorded.pause).0.map(|(received, _)| received)),
        asks_for_pause: Fact(fact(&recorded.pause).0.map(|(_, sent)| sent)),
        firmware: fact(&recorded.firmware),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn speeds_are_those_of_the_bits() {
        assert_eq!(speeds(&[0b10_1100, 1 << (36 - 32)]), [100, 1_000, 100_000]);
        // Twisted pair, pause and error correction are no speeds.
        assert_eq!(speeds(&[1 << 7 | 1 << 13, 1 << (50 - 32)]), [] as [u64; 0]);
        assert_eq!(speeds(&[0, 0, 0, 1 << (115 - 96)]), [800_000]);
        assert_eq!(speeds(&[]), [] as [u64; 0]);
    }

    #[test]
    fn the_kernels_handshake_is_followed() {
        let asked = Cell::new(0);
        let kernel = |question: &mut [u32]| {
            asked.set(asked.get() + 1);
            let mut bytes = question[3].to_ne_bytes();
            match asked.get() {
                1 => bytes[3] = (-2i8) as u8,
                _ => {
                    assert_eq!((bytes[3], question.len()), (2, 12 + 6));
                    question[12] = 1 << 5;
                    question[14] = 1 << 12;
                    question[2] = u32::from_ne_bytes([0, 0, 0, 1]);
                }
            }
            question[3] = u32::from_ne_bytes(bytes);
            Ok(())
        };
        let link = link_settings(kernel).unwrap();
        assert!(link.autonegotiates);
        assert_eq!([0, 1, 2].map(|map| speeds(&link.maps[map])), [vec![1_000], vec![10_000], vec![]]);
        assert!(link_settings(|_| Ok(())).is_err());
        assert_eq!(link_settings(|_| Err(Absent::denied("x"))).err(), Some(Absent::denied("x")));
    }

    #[test]
    fn an_interface_of_this_machine_answers_or_says_why_not() {
        let adapter = ask(&Source::live(), "lo").unwrap();
        assert!(adapter.supported_mbps.0.is_err());
        assert!(ask(&Source::live(), "no-such-interface-of-any-name").unwrap().firmware.0.is_err());
    }
}
