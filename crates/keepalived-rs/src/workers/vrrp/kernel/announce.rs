//! What a person asks for: announcements (`keepalived-rs announce`), and how late timers were (`keepalived-rs lateness`).

use std::collections::BTreeMap;

use vrrp_proto::RouterId;

use super::Kernel;
use crate::control::{self, Answer, Request};

/// So many names, or addresses that are not announced, are listed in an answer.
const MOST_LISTED: usize = 20;

impl Kernel {
    /// Answers the commands that ask something.
    pub(super) fn answer_requests(&mut self) {
        let mut host = std::mem::take(&mut self.control);
        host.serve(|request| match request {
            Request::Announce { instances } => self.announce_on_request(&instances),
            Request::Lateness => Answer::Lateness(self.lateness),
            _ => control::refuse("the VRRP process knows nothing of virtual servers"),
        });
        self.control = host;
    }

    fn announce_on_request(&mut self, instances: &[String]) -> Answer {
        let all = self.roster.routers();
        let all: Vec<(RouterId, String)> = all.map(|id| (id, self.roster.name(id).to_owned())).collect();
        if let Some(unknown) = instances.iter().find(|name| !all.iter().any(|(_, known)| known == *name)) {
            let names: Vec<_> = all.iter().map(|(_, name)| name.as_str()).collect();
            return Answer::Refused(format!("there is no instance {unknown:.100}, but {}", list(&names)));
        }
        let mut links: BTreeMap<String, usize> = BTreeMap::new();
        let mut left_out = Vec::new();
        for (router, name) in all.iter().filter(|(_, name)| instances.is_empty() || instances.contains(name)) {
            if !self.holdings.holds(*router) {
                if !instances.is_empty() {
                    left_out.push(format!("({name}) is not master and holds no address"));
                }
                continue;
            }
            let announcements = self.announcements(*router);
            let of_all = self.holdings.addresses(*router);
            let silent = of_all.iter().filter(|it| !announcements.iter().any(|sent| sent.ip == it.ip));
            left_out.extend(silent.map(|it| format!("({name}) {} on {}: {}", it.ip, it.device, self.why_silent(it))));
            for announcement in &announcements {
                *links.entry(self.link_name(announcement.link)).or_default() += 1;
            }
            let repeat = self.roster.announcements_per_address(*router).max(1);
            self.announcer.queue(*router, &announcements, repeat);
        }
        tracing::info!("Announcing {} address(es) on request", links.values().sum::<usize>());
        let more = left_out.len().saturating_sub(MOST_LISTED);
        left_out.truncate(MOST_LISTED);
        left_out.extend((more > 0).then(|| format!("and {more} more")));
        Answer::Announced { links: links.into_iter().collect(), left_out }
    }

    fn why_silent(&self, address: &crate::config::vrrp::VirtualAddress) -> &'static str {
        match self.view.link(&address.device) {
            None => "there is no such interface",
            Some(link) if link.is_noarp() || link.mac.is_none() => "nobody resolves addresses there",
            Some(_) => "the kernel refused to add it",
        }
    }
}

/// The first of many names.
fn list(names: &[&str]) -> String {
    let more = if names.len() > MOST_LISTED { ", …" } else { "" };
    names.iter().take(MOST_LISTED).copied().collect::<Vec<_>>().join(", ") + more
}
