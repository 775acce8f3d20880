use proptest::prelude::*;

use super::*;
use crate::testing;

fn parsed(octets: &[u8]) -> Frame<'_> {
    let frames: Vec<_> = frames(octets).collect();
    assert_eq!(frames.len(), 1, "{frames:?}");
    frames[0].unwrap()
}

fn request() -> BoxedStrategy<Request> {
    prop_oneof![
        Just(Request::ResolveFamily),
        testing::change().prop_map(Request::Change),
        Just(Request::DumpServices),
        testing::service_address().prop_map(Request::DumpDestinations),
        testing::sync_daemon().prop_map(Request::StartSyncDaemon),
        testing::sync_role().prop_map(Request::StopSyncDaemon),
        Just(Request::DumpSyncDaemons),
        Just(Request::Flush),
        Just(Request::Zero(None)),
        testing::service_address().prop_map(|address| Request::Zero(Some(address))),
        testing::timeouts().prop_map(Request::SetTimeouts),
        Just(Request::QueryTimeouts),
        Just(Request::QueryInfo),
    ]
    .boxed()
}

fn any_answer() -> BoxedStrategy<Answer> {
    prop_oneof![
        any::<u16>().prop_map(Answer::Family),
        testing::service_entry().prop_map(Answer::Service),
        testing::destination_entry().prop_map(Answer::Destination),
        testing::sync_daemon().prop_map(Answer::SyncDaemon),
        testing::timeouts().prop_map(Answer::Timeouts),
        testing::info().prop_map(Answer::Info),
    ]
    .boxed()
}

proptest! {
    #[test]
    fn requests_read_back_equal(request in request(), sequence: u32) {
        let mut octets = Vec::new();
        request.emit(28, sequence, Acknowledge::Always, &mut octets);
        let frame = parsed(&octets);
        prop_assert_eq!(frame.sequence, sequence);
        prop_assert_eq!(frame.acknowledge(), Acknowledge::Always);
        prop_assert_eq!(frame.request(), Ok(request));
    }

    #[test]
    fn answers_read_back_equal(answer in any_answer(), sequence: u32) {
        let mut octets = Vec::new();
        answer.emit(28, sequence, &mut octets);
        let frame = parsed(&octets);
        prop_assert_eq!(frame.sequence, sequence);
        prop_assert_eq!(frame.reply(), Ok(Reply::Answer(answer)));
    }

    #[test]
    fn requests_follow_each_other(requests in proptest::collection::vec(request(), 0..5)) {
        let mut octets = Vec::new();
        for (sequence, request) in (7..).zip(&requests) {
            request.emit(28, sequence, Acknowledge::Refusal, &mut octets);
        }
        let read: Vec<_> = frames(&octets).map(|frame| frame.unwrap().request().unwrap()).collect();
        prop_assert_eq!(read, requests);
    }

    #[test]
    fn no_octets_panic(octets: Vec<u8>) {
        for frame in frames(&octets).flatten() {
            let _ = (frame.reply(), frame.request());
        }
    }

    /// Octets that are nearly a message reach deeper than arbitrary ones.
    #[test]
    fn no_damage_panics(request in request(), answer in any_answer(), place: prop::sample::Index, octet: u8, cut: prop::sample::Index) {
        let mut octets = Vec::new();
        request.emit(28, 1, Acknowledge::Always, &mut octets);
        answer.emit(28, 2, &mut octets);
        let place = place.index(octets.len());
        octets[place] = octet;
        octets.truncate(cut.index(octets.len() + 1));
        for frame in frames(&octets).flatten() {
            let _ = (frame.reply(), frame.request());
        }
    }
}

/// A request as `ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 3` means it, written out by hand from ip_vs.h.
#[test]
fn a_new_destination_on_the_wire() {
    let change = Change::AddDestination {
        service: ServiceAddress::tcp("192.0.2.1:80".parse().unwrap()),
        destination: Destination::new("10.0.0.1:80".parse().unwrap(), ForwardingMethod::Masquerade)
            .with_weight(Weight(3)),
    };
    let mut octets = Vec::new();
    Request::Change(change).emit(28, 5, Acknowledge::Refusal, &mut octets);
    #[rustfmt::skip]
    let expected = [
        140, 0, 0, 0, 28, 0, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, // 140 octets, family 28, NLM_F_REQUEST, sequence 5
        5, 1, 0, 0, // IPVS_CMD_NEW_DEST, version 1
        48, 0, 1, 0x80, // IPVS_CMD_ATTR_SERVICE, nested
        6, 0, 1, 0, 2, 0, 0, 0, // AF_INET
        6, 0, 2, 0, 6, 0, 0, 0, // TCP
        20, 0, 3, 0, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        6, 0, 4, 0, 0, 80, 0, 0, // port 80, big-endian
        72, 0, 2, 0x80, // IPVS_CMD_ATTR_DEST, nested
        6, 0, 11, 0, 2, 0, 0, 0, // AF_INET
        20, 0, 1, 0, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        6, 0, 2, 0, 0, 80, 0, 0,
        8, 0, 3, 0, 0, 0, 0, 0, // IP_VS_CONN_F_MASQ
        8, 0, 4, 0, 3, 0, 0, 0, // weight
        8, 0, 5, 0, 0, 0, 0, 0,
        8, 0, 6, 0, 0, 0, 0, 0,
    ];
    assert_eq!(octets, expected);
}

/// A request as `ipvsadm --start-daemon master --mcast-interface eth0 --syncid 3 --sync-maxlen 1024` means it.
#[test]
fn a_sync_daemon_on_the_wire() {
    let daemon = SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth0").unwrap());
    let daemon = SyncDaemon { sync_id: 3, max_length: NonZeroU16::new(1024), ..daemon };
    let mut octets = Vec::new();
    Request::StartSyncDaemon(daemon).emit(28, 5, Acknowledge::Always, &mut octets);
    #[rustfmt::skip]
    let expected = [
        84, 0, 0, 0, 28, 0, 5, 0, 5, 0, 0, 0, 0, 0, 0, 0, // 84 octets, NLM_F_REQUEST and NLM_F_ACK, sequence 5
        9, 1, 0, 0, // IPVS_CMD_NEW_DAEMON, version 1
        64, 0, 3, 0x80, // IPVS_CMD_ATTR_DAEMON, nested
        8, 0, 1, 0, 1, 0, 0, 0, // IP_VS_STATE_MASTER
        9, 0, 2, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0,
        8, 0, 3, 0, 3, 0, 0, 0, // sync id
        6, 0, 4, 0, 0, 4, 0, 0, // 1024 octets
        8, 0, 5, 0, 224, 0, 0, 81,
        6, 0, 7, 0, 0x90, 0x22, 0, 0, // port 8848, in the host's order
        5, 0, 8, 0, 1, 0, 0, 0, // TTL
    ];
    assert_eq!(octets, expected);
}

/// Kernels before 4.3 report role, interface and id.
#[test]
fn a_sync_daemon_of_an_old_kernel() {
    let daemon = SyncDaemon::new(SyncRole::Backup, InterfaceName::new("eth0").unwrap());
    let head = Head { kind: 28, flags: NLM_F_MULTI, sequence: 1, command: IPVS_CMD_NEW_DAEMON, version: 1 };
    let mut written = Vec::new();
    let old = |out: &mut Writer<'_>| {
        sync_role_attribute(SyncRole::Backup, out);
        out.name(IPVS_DAEMON_ATTR_MCAST_IFN, "eth0");
        out.u32(IPVS_DAEMON_ATTR_SYNC_ID, 0);
    };
    emit(&head, |out| out.nested(IPVS_CMD_ATTR_DAEMON, old), &mut written);
    assert_eq!(parsed(&written).reply(), Ok(Reply::Answer(Answer::SyncDaemon(daemon))));
}

/// An error message as the kernel writes it: number, the refused request, extended acknowledgement.
fn error_octets(flags: u16, errno: i32, request: &[u8], text: &str) -> Vec<u8> {
    let mut body = (-errno).to_ne_bytes().to_vec();
    body.extend(if flags & NLM_F_CAPPED == 0 { request } else { &request[..HEADER] });
    if flags & NLM_F_ACK_TLVS != 0 {
        body.extend(u16::try_from(4 + text.len() + 1).unwrap().to_ne_bytes());
        body.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        body.extend(text.bytes());
        body.push(0);
    }
    let mut octets = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
    octets.extend(NLMSG_ERROR.to_ne_bytes());
    octets.extend(flags.to_ne_bytes());
    octets.extend(9u32.to_ne_bytes());
    octets.extend(0u32.to_ne_bytes());
    octets.extend(body);
    octets
}

#[test]
fn refusals_carry_number_and_text() {
    let mut request = Vec::new();
    Request::Flush.emit(28, 9, Acknowledge::Always, &mut request);
    let refusal = |text: Option<&str>| Reply::Refused(Refusal { errno: 1, text: text.map(str::to_owned) });
    for (flags, text) in
        [(0, None), (NLM_F_CAPPED, None), (NLM_F_ACK_TLVS, Some("why")), (NLM_F_ACK_TLVS | NLM_F_CAPPED, Some("why"))]
    {
        let octets = error_octets(flags, 1, &request, "why");
        assert_eq!(parsed(&octets).reply(), Ok(refusal(text)), "{flags:#x}");
    }
    assert_eq!(parsed(&error_octets(NLM_F_CAPPED, 0, &request, "")).reply(), Ok(Reply::Acknowledged));
}

#[test]
fn narrow_counters_are_read_where_there_are_no_wide_ones() {
    let service = Service::new(ServiceAddress::tcp("192.0.2.1:80".parse().unwrap()), Scheduler::RR);
    let mut octets = Vec::new();
    let mut inner = Writer(&mut octets);
    address_attributes(service.address, &mut inner);
    inner.name(IPVS_SVC_ATTR_SCHED_NAME, "rr");
    inner.octets(IPVS_SVC_ATTR_FLAGS, &[2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    inner.nested(IPVS_SVC_ATTR_STATS, |inner| {
        inner.u32(IPVS_STATS_ATTR_CONNS, 5);
        inner.u64(IPVS_STATS_ATTR_INBYTES, 1 << 40);
    });
    let narrow = Stats { connections: 5, incoming_octets: 1 << 40, ..Stats::default() };
    assert_eq!(counted(service, &octets), narrow);
    // A kernel that has both gives wide ones that do not run over.
    let wide = Stats { connections: 5 + (1 << 32), ..narrow };
    stats_attribute(IPVS_SVC_ATTR_STATS64, &wide, &mut Writer(&mut octets));
    assert_eq!(counted(service, &octets), wide);
}

/// The counters of a service with these attributes.
fn counted(service: Service, inner: &[u8]) -> Stats {
    let head = Head { kind: 28, flags: NLM_F_MULTI, sequence: 1, command: IPVS_CMD_NEW_SERVICE, version: 1 };
    let mut written = Vec::new();
    emit(&head, |out| out.attribute(IPVS_CMD_ATTR_SERVICE | NLA_F_NESTED, |out| out.0.extend(inner)), &mut written);
    match parsed(&written).reply() {
        Ok(Reply::Answer(Answer::Service(entry))) if entry.service == service => entry.stats,
        other => panic!("{other:?}"),
    }
}
