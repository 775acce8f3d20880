//! Packets of every kind between us and others: tshark reads ours, we read those of Debian's keepalived.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
// The routers of the last case live in real time.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Frame, Host, Lab, peers};
use socket2::{Domain, Protocol, Socket, Type};
use vrrp_proto::{
    Action, Authentication, Cast, Family, GROUP_IPV4, Hmac, HmacKey, KeyId, OldUnicastChecksum, Packet, Password, Peer,
    Priority, Receiver, Role, RouterConfig, RouterId, Transmitter, UnixTime, Version, VirtualRouter, Vrid, WireConfig,
    default_group,
};

const PATIENCE: Duration = Duration::from_secs(30);
const PRIORITY: u8 = 150;

/// One kind of packet; its VRID is its place in [`KINDS`] + 1.
struct Kind {
    name: &'static str,
    version: Version,
    family: Family,
    unicast: bool,
    /// What the instance says beside `version`, `native_ipv6` and its peers.
    keywords: &'static str,
}

const fn kind(name: &'static str, version: Version, family: Family, unicast: bool, keywords: &'static str) -> Kind {
    Kind { name, version, family, unicast, keywords }
}

const PASS: &str = "authentication {\n auth_type PASS\n auth_pass secret12\n }";
const AH: &str = "authentication {\n auth_type AH\n auth_pass secret\n }";
const OLD: &str = "old_unicast_checksum";
/// Not known to Debian's keepalived 2.2.7.
const AS_V2: &str = "v3_checksum_as_v2";
const HMAC: &str = "auth_hmac";

const KINDS: [Kind; 17] = [
    kind("v2", Version::V2, Family::Ipv4, false, ""),
    kind("v2-pass", Version::V2, Family::Ipv4, false, PASS),
    kind("v2-ah", Version::V2, Family::Ipv4, false, AH),
    kind("v2-unicast", Version::V2, Family::Ipv4, true, ""),
    kind("v2-pass-unicast", Version::V2, Family::Ipv4, true, PASS),
    kind("v2-ah-unicast", Version::V2, Family::Ipv4, true, AH),
    kind("v2-ipv6", Version::V2, Family::Ipv6, false, ""),
    kind("v3", Version::V3, Family::Ipv4, false, ""),
    kind("v3-unicast", Version::V3, Family::Ipv4, true, ""),
    kind("v3-unicast-old-checksum", Version::V3, Family::Ipv4, true, OLD),
    kind("v3-ipv6", Version::V3, Family::Ipv6, false, ""),
    kind("v3-ipv6-unicast", Version::V3, Family::Ipv6, true, ""),
    kind("v3-as-v2", Version::V3, Family::Ipv4, false, AS_V2),
    kind("v2-hmac", Version::V2, Family::Ipv4, false, HMAC),
    kind("v3-hmac", Version::V3, Family::Ipv4, false, HMAC),
    kind("v3-hmac-unicast", Version::V3, Family::Ipv4, true, HMAC),
    kind("v3-ipv6-hmac", Version::V3, Family::Ipv6, false, HMAC),
];

impl Kind {
    fn address(&self, last: u8) -> IpAddr {
        match self.family {
            Family::Ipv4 => IpAddr::from([198, 18, 0, last]),
            Family::Ipv6 => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(last)]),
        }
    }

    fn destination(&self) -> IpAddr {
        if self.unicast { self.address(2) } else { default_group(self.family) }
    }

    fn vips(&self, vrid: u8) -> Vec<IpAddr> {
        vec![self.address(100 + vrid), self.address(200 + vrid)]
    }

    fn config(&self, vrid: u8) -> WireConfig {
        let mut config = WireConfig::new(Vrid::new(vrid).unwrap(), self.version, self.family);
        config.addresses = self.vips(vrid);
        config.authentication = match self.keywords {
            PASS => Authentication::Pass(Password::new(b"secret12")),
            AH => Authentication::Ah(Password::new(b"secret")),
            HMAC => {
                let id = KeyId::new(1).unwrap();
                let key = HmacKey::new(id, b"0123456789abcdef0123456789abcdef").unwrap();
                Authentication::Hmac(Hmac::new([key], id).unwrap())
            }
            _ => Authentication::None,
        };
        config.v3_checksum_as_v2 = self.keywords == AS_V2;
        if self.keywords == OLD {
            config.old_unicast_checksum = OldUnicastChecksum::Use;
        }
        if self.unicast {
            config.cast = Cast::Unicast { peers: vec![Peer::new(self.address(1))], check_source: true };
        }
        config
    }

    /// Whether tshark knows what the checksum covers. It has no idea of the old one, nor of a trailer over IPv4, and adds
    /// no pseudo-header to version 2 over IPv6, as the kernel does, which fills in and verifies the checksum there.
    fn has_a_checksum_for_tshark(&self) -> bool {
        match (self.version, self.family) {
            (Version::V2, Family::Ipv6) => false,
            (Version::V3, Family::Ipv6) => true,
            (_, Family::Ipv4) => ![OLD, HMAC].contains(&self.keywords),
        }
    }

    /// An Ethernet frame with one of our advertisements.
    fn frame(&self, vrid: u8) -> Vec<u8> {
        let mut transmitter = Transmitter::new(self.config(vrid)).unwrap();
        let advert = transmitter.begin(Priority(PRIORITY), UnixTime::EPOCH);
        let (source, destination) = (self.address(1), self.destination());
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        match (source, destination) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut payload = Vec::new();
                transmitter.emit(&advert, source, destination, &mut payload).unwrap();
                frame.extend([0x86, 0xdd, 0x6c, 0, 0, 0]);
                frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
                frame.extend([vrrp_proto::PROTOCOL, 255]);
                frame.extend([from.octets(), to.octets()].concat());
                frame.extend(payload);
            }
            _ => {
                frame.extend([0x08, 0x00]);
                transmitter.emit(&advert, source, destination, &mut frame).unwrap();
            }
        }
        frame
    }
}

fn kinds() -> impl Iterator<Item = (u8, &'static Kind)> {
    (1..).zip(&KINDS)
}

/// A file in the format of libpcap, Ethernet, all frames at the epoch.
fn pcap<'a>(frames: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let header: [u32; 6] = [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 0x4_0000, 1];
    let mut file: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        file.extend([0, 0, length, length].into_iter().flat_map(u32::to_le_bytes));
        file.extend(frame);
    }
    file
}

const FIELDS: [&str; 7] = [
    "vrrp.version",
    "vrrp.virt_rtr_id",
    "vrrp.prio",
    "vrrp.addr_count",
    "vrrp.checksum.status",
    "ip.checksum.status",
    "_ws.malformed",
];
/// tshark's word for a checksum that is right.
const GOOD: &str = "1";

/// What tshark says of each frame, field by field.
fn dissect(lab: &Lab, name: &str, file: &Path, as_v2: bool) -> Result<Vec<Vec<String>>, Stop> {
    let as_v2 = format!("vrrp.v3_checksum_as_in_v2:{}", if as_v2 { "TRUE" } else { "FALSE" });
    let fields = FIELDS.into_iter().flat_map(|field| ["-e", field]);
    let program = peers::tshark()?.program().args([
        "-n",
        "-o",
        &as_v2,
        "-o",
        "ip.check_checksum:TRUE",
        "-T",
        "fields",
        "-E",
        "separator=;",
    ]);
    let program = program.args(fields).arg("-r").arg(file).bind(file, file);
    let tshark = lab.host(name)?.spawn(program)?;
    tshark.wait_for_exit(PATIENCE)?;
    let lines = tshark.lines();
    let lines = lines.iter().filter(|line| line.text.contains(';'));
    Ok(lines.map(|line| line.text.split(';').map(str::to_owned).collect()).collect())
}

fn tshark_reads_every_kind_of_packet() -> CaseResult {
    peers::tshark()?;
    let lab = Lab::new()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("packets.pcap");
    let frames: Vec<_> = kinds().map(|(vrid, kind)| kind.frame(vrid)).collect();
    std::fs::write(&file, pcap(frames.iter().map(Vec::as_slice)))?;
    let (usual, as_v2) = (dissect(&lab, "usual", &file, false)?, dissect(&lab, "as-v2", &file, true)?);
    assert_eq!((usual.len(), as_v2.len()), (KINDS.len(), KINDS.len()));
    for (((vrid, kind), usual), as_v2) in kinds().zip(usual).zip(as_v2) {
        let read = if kind.keywords == AS_V2 { as_v2 } else { usual };
        let [version, id, priority, count, checksum, ip_checksum, malformed] = &read[..] else {
            return Err(Stop::failed(format!("{}: {read:?}", kind.name)));
        };
        let expected = [kind.version.number(), vrid, PRIORITY, 2].map(|number| number.to_string());
        assert_eq!([version, id, priority, count].map(Clone::clone), expected, "{}", kind.name);
        assert_eq!(malformed, "", "{}", kind.name);
        assert!(checksum == GOOD || !kind.has_a_checksum_for_tshark(), "{}: {read:?}", kind.name);
        assert!(ip_checksum == GOOD || kind.family == Family::Ipv6, "{}: {read:?}", kind.name);
    }
    Ok(())
}

/// The configuration of Debian's keepalived for every kind that it knows.
fn configuration() -> String {
    let mut text = String::from("global_defs {\n router_id here\n}\n");
    for (vrid, kind) in kinds().filter(|(_, kind)| is_known_to_debian(kind)) {
        let vips = kind.vips(vrid).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n ");
        // The word stands for version 3; version 2 over IPv6 is what the addresses alone lead to.
        let is_v3_ipv6 = (kind.version, kind.family) == (Version::V3, Family::Ipv6);
        let family = if is_v3_ipv6 { "native_ipv6\n" } else { "" };
        let peer = match kind.unicast {
            true => format!("unicast_src_ip {}\n unicast_peer {{\n {}\n }}\n", kind.address(1), kind.address(2)),
            false => String::new(),
        };
        writeln!(
            text,
            "vrrp_instance {} {{\n interface eth0\n virtual_router_id {vrid}\n priority {PRIORITY}\n advert_int 1\n \
             version {}\n {family}{peer}{}\n virtual_ipaddress {{\n {vips}\n }}\n}}",
            kind.name,
            kind.version.number(),
            kind.keywords,
        )
        .unwrap();
    }
    text
}

fn is_known_to_debian(kind: &Kind) -> bool {
    ![AS_V2, HMAC].contains(&kind.keywords)
}

/// The IP datagram in a frame, if it is of VRRP, and its VRID.
fn vrrp(frame: &Frame) -> Option<(u8, &[u8])> {
    let (ethernet, datagram) = frame.octets.split_first_chunk::<14>()?;
    let place = match (ethernet.last_chunk()?, datagram) {
        ([0x08, 0x00], [_, _, _, _, _, _, _, _, _, 112, ..]) => 20,
        ([0x08, 0x00], [_, _, _, _, _, _, _, _, _, 51, ..]) => 44,
        ([0x86, 0xdd], [_, _, _, _, _, _, 112, ..]) => 40,
        _ => return None,
    };
    Some((*datagram.get(place + 1)?, datagram))
}

fn packet(datagram: &[u8]) -> Packet<'_> {
    let Some((header, payload)) = datagram.split_first_chunk::<40>().filter(|_| datagram[0] >> 4 == 6) else {
        return Packet::from_ipv4(datagram).unwrap();
    };
    let address = |place| <[u8; 16]>::try_from(&header[place..place + 16]).unwrap().into();
    Packet::from_ipv6(address(8), Some(address(24)), header[7], payload)
}

/// Prints the first packet and the resignation of each kind: the captures of `vrrp-proto` come from here.
fn every_kind_of_packet_of_keepalived_is_accepted() -> CaseResult {
    let keepalived = peers::keepalived()?;
    let lab = Lab::new()?;
    let lan = lab.bridge("br0")?;
    let (router, peer) = (lab.host("r1")?, lab.host("r2")?);
    for (host, last) in [(&router, 1), (&peer, 2)] {
        lab.connect(host, "eth0", &lan)?;
        // Nobody else answers for an address that is not checked yet.
        host.set_sysctl("net/ipv6/conf/eth0/accept_dad", "0")?;
        host.address("eth0", &format!("198.18.0.{last}/24"))?;
        host.address("eth0", &format!("fe80::{last}/64"))?;
    }
    let wire = router.capture("eth0")?;
    let program = keepalived.program().args(["-nlDP"]).file("/etc/keepalived/keepalived.conf", configuration());
    let daemon = router.spawn(program)?;
    let known: Vec<_> = kinds().filter(|(_, kind)| is_known_to_debian(kind)).collect();
    for (vrid, kind) in &known {
        let theirs = |frame: &Frame| vrrp(frame).filter(|(number, _)| number == vrid).map(drop);
        let missing = |error| Stop::failed(format!("{}: {error}\n{daemon:?}", kind.name));
        wire.wait_for(PATIENCE, theirs).map_err(missing)?;
    }
    daemon.signal(nix::sys::signal::Signal::SIGTERM)?;
    daemon.wait_for_exit(PATIENCE)?;
    let frames = wire.frames();
    for (vrid, kind) in known {
        let mut receiver = Receiver::new(kind.config(vrid));
        let datagrams: Vec<_> = frames
            .iter()
            .filter_map(vrrp)
            .filter(|(number, _)| *number == vrid)
            .map(|(_, datagram)| datagram)
            .collect();
        let mut priorities = Vec::new();
        for datagram in &datagrams {
            let verified = receiver.receive(&packet(datagram), UnixTime::EPOCH);
            let verified = verified.map_err(|discard| Stop::failed(format!("{}: {discard}", kind.name)))?;
            assert_eq!((verified.interval, verified.addresses), (None, None), "{}", kind.name);
            assert_eq!(verified.old_checksum, kind.keywords == OLD, "{}", kind.name);
            priorities.push(verified.advertisement.priority.0);
        }
        assert_eq!((priorities.first(), priorities.last()), (Some(&PRIORITY), Some(&0)), "{}", kind.name);
        for datagram in [datagrams.first(), datagrams.last()].into_iter().flatten() {
            let hex = datagram.iter().fold(String::new(), |hex, octet| hex + &format!("{octet:02x}"));
            println!("{} {hex}", kind.name);
        }
    }
    Ok(())
}

const OURS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// What keepalived says of a sequence that it does not believe.
const REFUSED: &str = "already processed";
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 101));

/// A router of ours that begins with nothing, with AH, one interval of a second, on a raw socket of its own.
struct Ours {
    router: VirtualRouter,
    receiver: Receiver,
    transmitter: Transmitter,
    socket: Socket,
    epoch: Instant,
}

impl Ours {
    fn start(host: &Host, priority: u8) -> Result<Self, Stop> {
        let vrid = Vrid::new(51).unwrap();
        let mut wire = WireConfig::new(vrid, Version::V2, Family::Ipv4);
        wire.addresses = vec![VIP];
        wire.authentication = Authentication::Ah(Password::new(b"secret"));
        let mut config = RouterConfig::new(vrid, Family::Ipv4);
        (config.version, config.advertisement_interval) = (Version::V2, wire.advertisement_interval);
        (config.priority, config.addresses, config.source) = (Priority(priority), vec![VIP], Some(OURS.into()));
        let mut router = VirtualRouter::new(RouterId(1), config);
        router.startup(vrrp_proto::Instant::ZERO);
        let transmitter = Transmitter::new(wire.clone()).unwrap();
        let (receiver, socket) = (Receiver::new(wire), host.run(raw_socket)?);
        Ok(Self { router, receiver, transmitter, socket, epoch: Instant::now() })
    }

    fn now(&self) -> vrrp_proto::Instant {
        vrrp_proto::Instant::ZERO + self.epoch.elapsed()
    }

    /// Runs until it is in this role and has heard or sent `packets` in it.
    fn run_until(&mut self, role: Role, packets: u32) -> CaseResult {
        let (deadline, mut buffer, mut passed) = (Instant::now() + PATIENCE, [0; 256], 0);
        loop {
            let sent = self.act()?;
            passed = if self.router.role() == role { passed + sent } else { 0 };
            if passed >= packets {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Stop::failed(format!("not {role:?} in time: {:?}", self.receiver.stats())));
            }
            let now = self.now();
            let wait = self.router.poll_timeout().map_or(PATIENCE, |due| due.saturating_duration_since(now));
            self.socket.set_read_timeout(Some(wait.clamp(Duration::from_millis(1), Duration::from_secs(1))))?;
            match (&self.socket).read(&mut buffer) {
                Ok(length) => passed += self.hear(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            self.router.handle_timeout(self.now());
        }
    }

    fn act(&mut self) -> Result<u32, Stop> {
        let mut sent = 0;
        while let Some(action) = self.router.poll_action() {
            match action {
                Action::Apply { ticket, .. } => self.router.handle_applied(self.now(), ticket),
                Action::Advertise { priority, .. } => {
                    let (advert, mut out) = (self.transmitter.begin(priority, UnixTime::EPOCH), Vec::new());
                    self.receiver.follow(OURS.into(), &advert);
                    self.transmitter.emit(&advert, OURS.into(), GROUP_IPV4.into(), &mut out).unwrap();
                    self.socket.send_to(&out, &SocketAddrV4::new(GROUP_IPV4, 0).into())?;
                    sent += 1;
                }
                _ => {}
            }
        }
        Ok(sent)
    }

    fn hear(&mut self, datagram: &[u8]) -> u32 {
        let packet = Packet::from_ipv4(datagram).unwrap();
        let Ok(verified) = self.receiver.receive(&packet, UnixTime::EPOCH) else { return 0 };
        self.transmitter.follow(&verified);
        self.router.handle_advertisement(self.now(), packet.source, &verified.advertisement);
        1
    }
}

fn raw_socket() -> io::Result<Socket> {
    const AH: i32 = 51;
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(AH)))?;
    socket.set_header_included_v4(true)?;
    socket.bind_device(Some(b"eth0"))?;
    socket.join_multicast_v4(&GROUP_IPV4, &OURS)?;
    socket.set_multicast_if_v4(&OURS)?;
    socket.set_multicast_loop_v4(false)?;
    Ok(socket)
}

/// Each side dies without a word, keeps nothing and counts from 1 again, and is believed because it hears the other one
/// first. If it does not, it is refused until it has heard it: then each is Active for a moment.
fn authentication_headers_count_on_across_restarts_of_either_side() -> CaseResult {
    let keepalived = peers::keepalived()?;
    let lab = Lab::new()?;
    let lan = lab.bridge("br0")?;
    let (host, other) = (lab.host("r1")?, lab.host("r2")?);
    for (host, address) in [(&host, "198.18.0.1/24"), (&other, "198.18.0.2/24")] {
        lab.connect(host, "eth0", &lan)?;
        host.address("eth0", address)?;
    }
    let text = format!(
        "vrrp_instance VI {{\n interface eth0\n virtual_router_id 51\n priority 150\n advert_int 1\n version 2\n {AH}\n \
         virtual_ipaddress {{\n {VIP}\n }}\n}}"
    );
    let start = || {
        let program = keepalived.program().args(["-nlDP"]).file("/etc/keepalived/keepalived.conf", text.clone());
        other.spawn(program)
    };
    let mut ours = Ours::start(&host, 100)?;
    ours.run_until(Role::Active, 3)?;
    let daemon = start()?;
    ours.run_until(Role::Backup, 2)?;
    daemon.kill_all()?;
    ours.run_until(Role::Active, 2)?;
    let daemon = start()?;
    ours.run_until(Role::Backup, 2)?;
    assert_eq!(ours.receiver.stats().ah_sequence, 0, "nothing of keepalived was taken for a replay");

    daemon.wait_for_line("Entering MASTER STATE", PATIENCE)?;
    let mark = daemon.mark();
    ours = Ours::start(&host, 254)?;
    ours.run_until(Role::Active, 2)?;
    daemon.wait_for_line_after(mark, "Entering BACKUP STATE", PATIENCE)?;
    let refused = daemon.lines().into_iter().find(|line| line.text.contains(REFUSED));
    assert!(refused.is_none(), "nothing of ours was taken for a replay: {refused:?}");

    let mark = daemon.mark();
    ours = Ours::start(&host, 254)?;
    ours.run_until(Role::Active, 4)?;
    daemon.wait_for_line_after(mark, "Entering MASTER STATE", PATIENCE)?;
    lab.wait_for_holders(VIP, &[], PATIENCE)?;
    Ok(())
}

fn main() -> ExitCode {
    harness::main(&[
        case("tshark_reads_every_kind_of_packet", tshark_reads_every_kind_of_packet),
        case("every_kind_of_packet_of_keepalived_is_accepted", every_kind_of_packet_of_keepalived_is_accepted),
        case(
            "authentication_headers_count_on_across_restarts_of_either_side",
            authentication_headers_count_on_across_restarts_of_either_side,
        ),
    ])
}
