//! A kernel that is played by a thread at the other end of the socket: it answers what a real one cannot be made to.

use neli::consts::socket::NlFamily;
use nix::sys::socket::{getsockname, recvfrom, sendto};

use super::*;
use crate::{
    message::route::RTM_NEWROUTE,
    types::{Family, LinkRef, NextHop, Prefix, RuleAction, VirtualKind, VirtualLink},
};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// What it says to a request: nothing, or datagrams.
type Script<'a> = dyn FnMut(usize, &Message<'_>) -> Vec<Vec<u8>> + Send + 'a;

/// Runs `client` on a socket whose requests are answered by `script`: the number of the request in its datagram, and the
/// request.
fn with_kernel<T>(script: &mut Script<'_>, client: impl FnOnce(&mut RouteSocket) -> T) -> T {
    // It is for everyone: not connected.
    let socket = NlSocket::connect(NlFamily::Usersock, None, Groups::empty()).unwrap();
    let kernel = KernelSocket { socket, receive_buffer: 0, datagram: Vec::new(), received: Received::default() };
    let port = getsockname::<NetlinkAddr>(kernel.as_fd().as_raw_fd()).unwrap().pid();
    let mut route = RouteSocket::over(KernelSocket::open_to(NlFamily::Usersock, &[], port).unwrap());
    let (stop, stopped) = std::os::unix::net::UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| answer(&kernel, &stopped, script));
        let result = client(&mut route);
        drop(stop);
        result
    })
}

/// Until the other end of `stopped` is closed.
fn answer(kernel: &KernelSocket, stopped: &std::os::unix::net::UnixStream, script: &mut Script<'_>) {
    let mut datagram = vec![0; 1 << 16];
    let descriptor = kernel.as_fd().as_raw_fd();
    loop {
        let mut ready = [PollFd::new(kernel, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        poll(&mut ready, None).unwrap();
        if ready[0].revents().is_empty() {
            return;
        }
        let (len, from) = recvfrom::<NetlinkAddr>(descriptor, &mut datagram).unwrap();
        for (index, request) in message::messages(&datagram[..len]).map(Result::unwrap).enumerate() {
            for answer in script(index, &request) {
                sendto(descriptor, &answer, &from.unwrap(), MsgFlags::empty()).unwrap();
            }
        }
    }
}

fn octets(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(16 + payload.len()).unwrap().to_ne_bytes();
    let (kind, flags) = (kind.to_ne_bytes(), flags.to_ne_bytes());
    [&len[..], &kind, &flags, &sequence.to_ne_bytes(), &[0; 4], payload].concat()
}

/// As the kernel refuses: the number, the whole request, and its own words.
fn refusal(request: &Message<'_>, errno: i32, words: &str) -> Vec<u8> {
    let copy = octets(request.kind, request.flags, request.sequence, request.payload);
    let text = [words.as_bytes(), &[0]].concat();
    let attribute_len = u16::try_from(4 + text.len()).unwrap().to_ne_bytes();
    let mut payload = [&(-errno).to_ne_bytes()[..], &copy].concat();
    payload.resize(payload.len().next_multiple_of(4), 0);
    payload.extend([&attribute_len[..], &NLMSGERR_ATTR_MSG.to_ne_bytes(), &text].concat());
    octets(NLMSG_ERROR, NLM_F_ACK_TLVS, request.sequence, &payload)
}

/// As the kernel carries out: it says so only where it is asked to.
fn consent(request: &Message<'_>) -> Vec<Vec<u8>> {
    let header = octets(request.kind, request.flags, request.sequence, &[]);
    let answer = octets(NLMSG_ERROR, 0, request.sequence, &[&[0; 4][..], &header].concat());
    Some(answer).filter(|_| request.flags & NLM_F_ACK != 0).into_iter().collect()
}

/// One of each that a plan can have.
fn every_change() -> Vec<Change> {
    let link = LinkIndex::new(i32::MAX.cast_unsigned()).unwrap(); // no host has it, nor a name for it
    let name: LinkName = "vrrp.51".parse().unwrap();
    let address = Address::virtual_address(link, [192, 0, 2, 1].into(), 24);
    let hop = NextHop { gateway: Some([192, 0, 2, 9].into()), link: Some(link), ..NextHop::default() };
    let route = Route { next_hops: vec![hop], ..Route::new(Prefix::network([10, 1, 0, 0].into(), 16)) };
    let route = || Box::new(route.clone());
    let rule = || Box::new(Rule::new(Family::Ipv4, 100, RuleAction::Table(7)));
    let made = VirtualLink {
        name,
        parent: link,
        kind: VirtualKind::Macvlan { mode: crate::MacvlanMode::PRIVATE },
        mac: None,
        group: 0,
        master: None,
        address_generation: None,
        ipv4: crate::Ipv4Conf::default(),
    };
    vec![
        Change::AddAddress(address),
        Change::EditAddress(address),
        Change::RemoveAddress(address),
        Change::AddRoute { route: route(), placement: crate::Placement::First },
        Change::ReplaceRoute(route()),
        Change::RemoveRoute(route()),
        Change::AddRule(rule()),
        Change::RemoveRule(rule()),
        Change::AddVirtualLink(Box::new(made)),
        Change::SetLinkUp(LinkRef::Name(name)),
        Change::Rename { link, name },
        Change::DelLink(LinkRef::Index(link)),
    ]
}

/// What the number means of such a change is what was asked for.
fn is_so_already(change: &Change, errno: i32) -> bool {
    match errno {
        libc::EEXIST => matches!(change, Change::AddAddress(_) | Change::AddRoute { .. } | Change::AddRule(_)),
        libc::ENODEV => {
            matches!(change, Change::RemoveAddress(_) | Change::RemoveRoute(_) | Change::DelLink(_))
        }
        _ => false,
    }
}

#[test]
fn any_single_request_can_be_refused_for_any_reason() {
    let changes = every_change();
    for errno in [libc::EEXIST, libc::ENODEV, libc::ENOBUFS, libc::EPERM, libc::EINVAL] {
        for (place, change) in changes.iter().enumerate() {
            let mut script = |index, request: &Message<'_>| match index {
                index if index == place => vec![refusal(request, errno, "as the test has it")],
                _ => consent(request),
            };
            let applied = with_kernel(&mut script, |route| route.apply(&changes));
            assert!(!applied.lost && applied.sends == 1, "{applied:?}");
            if is_so_already(change, errno) {
                assert!(applied.refused.is_empty(), "{applied:?}");
                continue;
            }
            let [Refusal { index, what, error }] = applied.refused.as_slice() else { panic!("{applied:?}") };
            assert_eq!((*index, what), (place, change));
            assert_eq!(error.io().raw_os_error(), Some(errno));
            let command = change.command(|_| None).map(|it| format!(" ({it})")).unwrap_or_default();
            let source = io::Error::from_raw_os_error(errno);
            assert_eq!(error.to_string(), format!("{change}{command}: {source}: as the test has it"));
        }
    }
}

#[test]
fn refusals_of_one_batch_do_not_mix() {
    let changes = every_change();
    let mut script = |index, request: &Message<'_>| match index {
        1 => vec![refusal(request, libc::EPERM, "one")],
        4 => vec![refusal(request, libc::ENOBUFS, "two")],
        10 => vec![refusal(request, libc::ENODEV, "three")],
        _ => consent(request),
    };
    let applied = with_kernel(&mut script, |route| route.apply(&changes));
    let words = |refusal: &Refusal| refusal.error.explanation().unwrap().to_owned();
    let refused: Vec<_> = applied.refused.iter().map(|refusal| (refusal.index, words(refusal))).collect();
    assert_eq!(refused, [(1, "one".to_owned()), (4, "two".to_owned()), (10, "three".to_owned())]);
    assert!(!applied.lost);
}

#[test]
fn a_kernel_that_says_nothing_costs_the_time_and_no_more() {
    let changes = every_change();
    let mut script = |_, _: &Message<'_>| Vec::new();
    let applied = with_kernel(&mut script, |route| {
        route.set_timeout(Duration::from_millis(20));
        route.apply(&changes)
    });
    assert!(applied.lost);
    assert_eq!(applied.refused.len(), changes.len());
    assert_eq!(applied.refused[0].error.io().raw_os_error(), Some(libc::ETIMEDOUT));
}

#[test]
fn a_dump_that_is_disturbed_is_begun_again_after_a_pause_each_time_longer() {
    let route = Route::new(Prefix::network([10, 1, 0, 0].into(), 16));
    let mut reported = Vec::new();
    crate::message::route::emit_add(&route, neli::consts::nl::NlmF::empty(), 0, &mut reported);
    for disturbed in [0, 2, 5] {
        let mut asked = Vec::new();
        let mut script = |_, request: &Message<'_>| {
            asked.push(now());
            let flags = if asked.len() <= disturbed { NLM_F_DUMP_INTR } else { 0 };
            let one = octets(RTM_NEWROUTE, 2 | flags, request.sequence, &reported[16..]);
            vec![one, octets(NLMSG_DONE, 2, request.sequence, &[0; 4])]
        };
        let dumped = with_kernel(&mut script, |route| route.routes());
        assert_eq!(dumped.is_ok(), disturbed < 5, "{dumped:?}");
        assert_eq!(asked.len(), (disturbed + 1).min(5));
        for (number, times) in asked.windows(2).enumerate() {
            assert!(times[1] - times[0] >= Duration::from_millis(2 << number), "{asked:?}");
        }
        match dumped {
            Ok(routes) => assert_eq!(routes, std::slice::from_ref(&route)),
            Err(error) => assert_eq!(error.to_string(), "listing routes: changed by others each time it was read"),
        }
    }
}

#[test]
fn who_takes_addresses_over_does_not_ask_for_all_unless_one_is_there() {
    let link = LinkIndex::new(7).unwrap();
    let address = |last| Address::virtual_address(link, [192, 0, 2, last].into(), 24);
    let wanted = Wanted { addresses: (1..=3).map(address).collect(), ..Wanted::default() };
    for (there, sends, dumps) in [(None, 1, 0), (Some(2), 2, 1)] {
        let mut dumped = 0;
        let mut script = |index, request: &Message<'_>| match request.kind {
            crate::message::address::RTM_NEWADDR if there == Some(index) && dumped == 0 => {
                vec![refusal(request, libc::EEXIST, "it is there")]
            }
            crate::message::address::RTM_NEWADDR => consent(request),
            _ => {
                dumped += 1;
                vec![octets(NLMSG_DONE, 2, request.sequence, &[0; 4])]
            }
        };
        let applied = with_kernel(&mut script, |route| route.reconcile_unseen(&wanted).unwrap());
        assert!(applied.refused.is_empty() && !applied.lost, "{applied:?}");
        assert_eq!((applied.sends, dumped), (sends, dumps));
    }
}
