//! What the kernel itself throws away of what comes to a socket: packets for virtual routers that are not ours, which
//! would wake the process for nothing. A program of the classic packet filter, and the set of VRIDs that it knows. Pure.

use vrrp_proto::{Family, Vrid};

use super::sockets::Carrier;

/// Octets of the authentication header before the advert (RFC 2338 §5.3.6.3).
const AH_LENGTH: u32 = 24;

/// The VRID is the second octet of an advert (RFC 9568 §5.2.3).
const VRID_OFFSET: u32 = 1;

/// Bits in a word of the set.
const WORD: u8 = 32;

// Instructions of the classic packet filter (`linux/filter.h`).
const LOAD_IPV4_HEADER_LENGTH: u16 = 0xb1;
const LOAD_OCTET: u16 = 0x30;
const LOAD_OCTET_AFTER_X: u16 = 0x50;
const LOAD_NUMBER: u16 = 0x00;
const LOAD_MEMORY: u16 = 0x60;
const STORE: u16 = 0x02;
const AND_NUMBER: u16 = 0x54;
const SHIFT_LEFT_BY_X: u16 = 0x6c;
const SHIFT_RIGHT_BY_NUMBER: u16 = 0x74;
const COPY_TO_X: u16 = 0x07;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Keep the packet whole; keep nothing of it.
const KEEP: u32 = u32::MAX;
const DROP: u32 = 0;

/// The two places of the program's memory.
const VRID: u32 = 0;
const BIT: u32 = 1;

/// A set of VRIDs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Vrids([u32; 8]);

impl Vrids {
    /// Adds one; whether it was not in it yet.
    pub(crate) fn insert(&mut self, vrid: u8) -> bool {
        let bit = 1 << (vrid % WORD);
        let Some(word) = self.0.get_mut(usize::from(vrid / WORD)) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn words(self) -> impl Iterator<Item = (u32, u32)> {
        (0..).zip(self.0).filter(|(_, bits)| *bits != 0)
    }
}

impl FromIterator<Vrid> for Vrids {
    fn from_iter<I: IntoIterator<Item = Vrid>>(vrids: I) -> Self {
        let mut set = Self::default();
        for vrid in vrids {
            set.insert(vrid.get());
        }
        set
    }
}

/// One instruction, as the kernel takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// What to do.
    pub(crate) code: u16,
    /// So many instructions are skipped if a condition holds, and if not.
    pub(crate) jumps: [u8; 2],
    /// A constant.
    pub(crate) number: u32,
}

const fn step(code: u16, number: u32) -> Instruction {
    Instruction { code, jumps: [0, 0], number }
}

/// Lets packets for `vrids` pass to a raw socket, and no others. What is too short to have a VRID does not pass.
///
/// A raw IPv4 socket sees packets with their IP header, however long its options are; a raw IPv6 socket sees them
/// without. The time that it takes hardly depends on the number of VRIDs.
pub(crate) fn program(family: Family, carrier: Carrier, vrids: Vrids) -> Vec<Instruction> {
    let before = match carrier {
        Carrier::Vrrp => 0,
        Carrier::Ah => AH_LENGTH,
    };
    let mut program = match family {
        Family::Ipv4 => vec![step(LOAD_IPV4_HEADER_LENGTH, 0), step(LOAD_OCTET_AFTER_X, before + VRID_OFFSET)],
        Family::Ipv6 => vec![step(LOAD_OCTET, before + VRID_OFFSET)],
    };
    // The bit of the VRID within its word, then the number of the word.
    program.extend([
        step(STORE, VRID),
        step(AND_NUMBER, u32::from(WORD - 1)),
        step(COPY_TO_X, 0),
        step(LOAD_NUMBER, 1),
        step(SHIFT_LEFT_BY_X, 0),
        step(STORE, BIT),
        step(LOAD_MEMORY, VRID),
        step(SHIFT_RIGHT_BY_NUMBER, WORD.ilog2()),
    ]);
    for (word, bits) in vrids.words() {
        program.extend([
            Instruction { code: JUMP_IF_EQUAL, jumps: [0, 4], number: word },
            step(LOAD_MEMORY, BIT),
            Instruction { code: JUMP_IF_ANY_BIT, jumps: [0, 1], number: bits },
            step(RETURN, KEEP),
            step(RETURN, DROP),
        ]);
    }
    program.push(step(RETURN, DROP));
    program
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vrrp_proto::{Authentication, Packet, Password, Priority, Transmitter, UnixTime, Version, WireConfig};

    use super::*;

    /// What the kernel would do with `packet`.
    fn passes(program: &[Instruction], packet: &[u8]) -> bool {
        let octet = |offset: u32| packet.get(usize::try_from(offset).unwrap()).copied().map(u32::from);
        let (mut a, mut x, mut memory, mut next) = (0u32, 0u32, [0u32; 16], 0usize);
        loop {
            let Instruction { code, jumps: [yes, no], number } = program[next];
            next += 1;
            let jump = |condition: bool| usize::from(if condition { yes } else { no });
            match code {
                LOAD_IPV4_HEADER_LENGTH => match octet(number) {
                    Some(octet) => x = 4 * (octet & 0x0f),
                    None => return false,
                },
                LOAD_OCTET | LOAD_OCTET_AFTER_X => match octet(number + if code == LOAD_OCTET { 0 } else { x }) {
                    Some(octet) => a = octet,
                    None => return false,
                },
                LOAD_NUMBER => a = number,
                LOAD_MEMORY => a = memory[number as usize],
                STORE => memory[number as usize] = a,
                AND_NUMBER => a &= number,
                SHIFT_LEFT_BY_X => a <<= x,
                SHIFT_RIGHT_BY_NUMBER => a >>= number,
                COPY_TO_X => x = a,
                JUMP_IF_EQUAL => next += jump(a == number),
                JUMP_IF_ANY_BIT => next += jump(a & number != 0),
                RETURN => return number != 0,
                other => panic!("instruction {other:#x} is not used"),
            }
        }
    }

    fn set(vrids: &[u8]) -> Vrids {
        vrids.iter().filter_map(|vrid| Vrid::new(*vrid)).collect()
    }

    /// An advert as it comes to a raw socket.
    fn advert(vrid: u8, family: Family, carrier: Carrier) -> Vec<u8> {
        let version = if carrier == Carrier::Ah { Version::V2 } else { Version::V3 };
        let mut wire = WireConfig::new(Vrid::new(vrid).unwrap(), version, family);
        if carrier == Carrier::Ah {
            wire.authentication = Authentication::Ah(Password::new(b"secret"));
        }
        let mut transmitter = Transmitter::new(wire).unwrap();
        let advert = transmitter.begin(Priority(100), UnixTime(std::time::Duration::from_secs(1)));
        let (source, group) = match family {
            Family::Ipv4 => ("192.0.2.1", "224.0.0.18"),
            Family::Ipv6 => ("fe80::1", "ff02::12"),
        };
        let mut packet = Vec::new();
        transmitter.emit(&advert, source.parse().unwrap(), group.parse().unwrap(), &mut packet).unwrap();
        packet
    }

    const KINDS: [(Family, Carrier); 3] =
        [(Family::Ipv4, Carrier::Vrrp), (Family::Ipv4, Carrier::Ah), (Family::Ipv6, Carrier::Vrrp)];

    #[test]
    fn every_vrid_passes_if_and_only_if_it_is_ours() {
        for (family, carrier) in KINDS {
            for ours in [&[][..], &[1], &[51, 52], &[1, 31, 32, 33, 64, 127, 128, 200, 255]] {
                let program = program(family, carrier, set(ours));
                for vrid in 1..=255 {
                    let passed = passes(&program, &advert(vrid, family, carrier));
                    assert_eq!(passed, ours.contains(&vrid), "{vrid} of {ours:?} over {family:?} {carrier:?}");
                }
            }
        }
    }

    #[test]
    fn the_largest_program_is_short() {
        let all: Vec<_> = (1..=255).collect();
        assert!(program(Family::Ipv4, Carrier::Ah, set(&all)).len() <= 64);
    }

    #[test]
    fn options_of_the_ip_header_are_skipped() {
        let program = program(Family::Ipv4, Carrier::Vrrp, set(&[51]));
        for words in 5..=15u8 {
            let plain = advert(51, Family::Ipv4, Carrier::Vrrp);
            let mut packet = vec![0x40 | words];
            packet.extend(&plain[1..20]);
            packet.resize(usize::from(words) * 4, 1);
            packet.extend(&plain[20..]);
            assert!(passes(&program, &packet), "{words} words");
            assert_eq!(Packet::from_ipv4(&packet).unwrap().vrid(), Some(51));
        }
    }

    proptest! {
        /// Nothing that a router of ours would be looked up for is thrown away.
        #[test]
        fn what_passes_is_what_the_worker_would_look_at(
            mut ours in proptest::collection::vec(1u8..=255, 0..8),
            for_us in any::<bool>(),
            mut octets in proptest::collection::vec(any::<u8>(), 0..96),
            kind in 0usize..3,
        ) {
            let (family, carrier) = KINDS[kind];
            let packet = match family {
                // The kernel checks these fields before a socket sees the packet.
                Family::Ipv4 => {
                    octets.resize(octets.len().max(24), 0);
                    octets[0] = 0x40 | (octets[0] & 0x0f).max(5);
                    octets[9] = if carrier == Carrier::Ah { 51 } else { 112 };
                    Packet::from_ipv4(&octets).ok()
                }
                Family::Ipv6 => {
                    let (source, group) = ("fe80::1".parse().unwrap(), "ff02::12".parse().unwrap());
                    Some(Packet::from_ipv6(source, Some(group), 255, &octets))
                }
            };
            let vrid = packet.and_then(|packet| packet.vrid()).filter(|vrid| *vrid != 0);
            ours.extend(vrid.filter(|_| for_us));
            let passed = passes(&program(family, carrier, set(&ours)), &octets);
            if let Some(vrid) = vrid {
                prop_assert_eq!(passed, ours.contains(&vrid));
            }
        }
    }
}
