//! What goes wrong, when, and how long.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use vrrp_proto::{AdvertisementInterval, Ownership, Priority, RouterConfig, Ticket, Version};

use super::junk::Junk;
use super::kernel::{Health, KERNEL};
use super::network::{DELAY, Weather};
use super::scenario::{MILLI, RouterSpec, virtual_addresses};
use super::world::{Event, World};

/// A kind of fault; the name is the one of the census.
pub(crate) const KINDS: [&str; 22] = [
    "fault: partition and heal",
    "fault: loss",
    "fault: delay and reordering",
    "fault: duplication",
    "fault: corruption",
    "fault: clock stall",
    "fault: host dies",
    "fault: process restarts in time",
    "fault: process restarts late",
    "fault: process dies, clean-up, restart",
    "fault: process dies between two actions",
    "fault: stop and start",
    "fault: carrier lost",
    "fault: tracked link flaps",
    "fault: script flaps",
    "fault: slow kernel",
    "fault: refusing kernel",
    "fault: hanging kernel",
    "fault: address taken away",
    "fault: reload",
    "fault: reload without a change",
    "fault: junk packets",
];

/// Something that happens at one instant. What no longer applies does nothing.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A fault of [`KINDS`] begins.
    Fault(usize),
    Heal {
        link: usize,
    },
    Clear {
        link: usize,
    },
    Wake {
        node: usize,
        life: u32,
    },
    Boot {
        node: usize,
        life: u32,
    },
    Restart {
        node: usize,
        life: u32,
    },
    CleanUp {
        node: usize,
        life: u32,
    },
    Ended {
        node: usize,
        life: u32,
    },
    Carrier {
        node: usize,
        link: usize,
        up: bool,
    },
    Uplink {
        node: usize,
        up: bool,
    },
    Script {
        node: usize,
        succeeds: bool,
    },
    Recover {
        node: usize,
    },
    Junk {
        router: usize,
        kind: Junk,
        left: u64,
        gap: u64,
    },
    Answer {
        node: usize,
        life: u32,
        router: usize,
        ticket: Ticket,
        accepted: bool,
    },
}

impl World {
    pub(crate) fn longest_active_down_interval(&self) -> u64 {
        let routers = 0..self.scenario.routers.len();
        routers.map(|router| self.active_down_interval(router)).max().unwrap_or(1)
    }

    /// Draws faults for a while and plans them; when the last of them begins at the latest.
    pub(crate) fn plan_faults(&mut self) -> u64 {
        let longest = self.longest_active_down_interval();
        let faults = if self.random.chance(30) { self.random.between(2, 3) } else { self.random.between(4, 9) };
        let from = self.now + 4 * longest;
        let span = 14 * longest;
        for _ in 0..faults {
            let at = from + self.random.below(span) - self.now;
            let kind = self.random.index(KINDS.len());
            self.plan(at, Step::Fault(kind));
        }
        self.census.add("simulated: faults planned", faults);
        from + span
    }

    pub(crate) fn carry_out(&mut self, step: Step) {
        let lives = |node: usize, life: u32| self.nodes[node].life == life;
        match step {
            Step::Fault(kind) => self.begin(kind),
            Step::Heal { link } => {
                self.network.divide(link, &vec![0; self.nodes.len()]);
                self.trace.line(self.now, || format!("link {link}: healed"));
                self.disturb_link(link, 0);
            }
            Step::Clear { link } => {
                self.network.set_weather(link, Weather::default());
                self.trace.line(self.now, || format!("link {link}: fine weather"));
            }
            Step::Wake { node, life } if lives(node, life) => {
                self.trace.line(self.now, || format!("node {node}: runs again"));
                self.wake(node);
            }
            Step::Boot { node, life } if lives(node, life) => self.boot(node),
            Step::Restart { node, life } if lives(node, life) => self.start_process(node),
            Step::CleanUp { node, life } if lives(node, life) => {
                self.clean_up(node);
                self.nodes[node].awaited = true;
            }
            Step::Ended { node, life } if lives(node, life) => self.ended(node),
            Step::Carrier { node, link, up } => {
                self.trace.line(self.now, || format!("node {node}: link {link}: carrier {up}"));
                self.disturb_node(node, 0);
                self.set_carrier(node, link, up);
            }
            Step::Uplink { node, up } => {
                self.trace.line(self.now, || format!("node {node}: tracked link up: {up}"));
                self.disturb_node(node, 0);
                self.set_uplink(node, up);
            }
            Step::Script { node, succeeds } => {
                self.trace.line(self.now, || format!("node {node}: script succeeds: {succeeds}"));
                self.disturb_node(node, 0);
                self.set_script(node, succeeds);
            }
            Step::Recover { node } => self.set_health(node, Health::Sound),
            Step::Junk { router, kind, left, gap } => self.throw(router, kind, left, gap),
            Step::Answer { node, life, router, ticket, accepted } => self.answer(node, life, router, ticket, accepted),
            Step::Wake { .. }
            | Step::Boot { .. }
            | Step::Restart { .. }
            | Step::CleanUp { .. }
            | Step::Ended { .. } => {}
        }
    }

    fn begin(&mut self, kind: usize) {
        let name = KINDS[kind];
        let router = self.random.index(self.scenario.routers.len());
        let link = self.scenario.routers[router].link;
        let node = self.target(router);
        let moment = self.moment(router);
        self.trace.line(self.now, || format!("--- {name} (link {link}, router {router}, node {node})"));
        let happened = match name {
            "fault: partition and heal" => self.partition(link, moment),
            "fault: loss" => {
                let loss = self.random.between(5, 90);
                self.storm(link, moment, Weather { loss, ..Weather::default() })
            }
            "fault: delay and reordering" => {
                let extra_delay = self.random.below(self.interval(router) * 2);
                self.storm(link, moment, Weather { extra_delay, ..Weather::default() })
            }
            "fault: duplication" => self.storm(link, moment, Weather { duplication: 50, ..Weather::default() }),
            "fault: corruption" => {
                let corruption = self.random.between(5, 60);
                self.storm(link, moment, Weather { corruption, ..Weather::default() })
            }
            "fault: clock stall" => self.begin_stall(node, moment),
            "fault: host dies" => self.host_dies(node, moment),
            "fault: process restarts in time" => self.restart_in_time(node),
            "fault: process restarts late" => self.restart_late(node),
            "fault: process dies, clean-up, restart" => self.clean_up_and_restart(node, moment),
            "fault: process dies between two actions" => self.die_between_actions(node),
            "fault: stop and start" => self.stop_and_start(node, moment),
            "fault: carrier lost" => self.flap(moment, |up| Step::Carrier { node, link, up }),
            "fault: tracked link flaps" => self.flap(moment, |up| Step::Uplink { node, up }),
            "fault: script flaps" => self.flap(moment, |succeeds| Step::Script { node, succeeds }),
            "fault: slow kernel" => self.sicken(node, Health::Slow(moment / 4), moment),
            "fault: refusing kernel" => {
                let percent = self.random.between(30, 100);
                self.sicken(node, Health::Refusing(percent), moment)
            }
            "fault: hanging kernel" => self.sicken(node, Health::Hanging, moment),
            "fault: address taken away" => self.take_address(router),
            "fault: reload" => self.reload_changed(node, router),
            "fault: reload without a change" => self.reload_unchanged(node),
            _ => self.begin_junk(router, moment),
        };
        if happened {
            self.census.count(name);
        } else {
            // Nobody is there to whom it could happen; junk is always possible.
            self.begin(KINDS.len() - 1);
        }
    }

    /// Mostly the Active Router, whose trouble is everybody's.
    fn target(&mut self, router: usize) -> usize {
        let active = self.active(router);
        if !active.is_empty() && self.random.chance(65) {
            return *self.random.pick(&active);
        }
        self.random.index(self.nodes.len())
    }

    /// How long something lasts: from a blink to three Active_Down_Intervals.
    fn moment(&mut self, router: usize) -> u64 {
        let interval = self.active_down_interval(router);
        let longest = *self.random.pick(&[interval / 4, interval, 3 * interval]);
        MILLI + self.random.below(longest)
    }

    pub(crate) fn interval(&self, router: usize) -> u64 {
        let configs = self.scenario.routers[router].members.values();
        let longest = configs.map(|config| config.advertisement_interval.duration()).max();
        longest.unwrap_or_default().as_nanos() as u64
    }

    fn partition(&mut self, link: usize, lasts: u64) -> bool {
        let sides: Vec<_> = self.nodes.iter().map(|_| self.random.below(2) as u32).collect();
        self.trace.line(self.now, || format!("link {link}: sides {sides:?}"));
        self.network.divide(link, &sides);
        self.disturb_link(link, 0);
        self.plan(lasts, Step::Heal { link });
        true
    }

    fn storm(&mut self, link: usize, lasts: u64, weather: Weather) -> bool {
        self.trace.line(self.now, || format!("link {link}: {weather:?}"));
        self.network.set_weather(link, weather);
        self.disturb_link(link, lasts + weather.extra_delay + DELAY);
        self.plan(lasts, Step::Clear { link });
        true
    }

    fn begin_stall(&mut self, node: usize, lasts: u64) -> bool {
        if self.nodes[node].process.is_none() || self.nodes[node].stalled {
            return false;
        }
        self.stall(node);
        self.disturb_node(node, lasts);
        self.plan(lasts, Step::Wake { node, life: self.nodes[node].life });
        true
    }

    fn host_dies(&mut self, node: usize, lasts: u64) -> bool {
        if self.nodes[node].process.is_none() {
            return false;
        }
        self.disturb_node(node, 0);
        self.power_off(node);
        self.plan(lasts, Step::Boot { node, life: self.nodes[node].life });
        true
    }

    /// A new process goes on before anybody misses the old one.
    fn restart_in_time(&mut self, node: usize) -> bool {
        if self.nodes[node].process.is_none() || self.nodes[node].stalled {
            return false;
        }
        let patience = self.patience(node).saturating_sub(2 * DELAY);
        let pause = self.random.below(patience.max(1));
        self.excuse(node, pause);
        self.kill_process(node);
        self.plan(pause, Step::Restart { node, life: self.nodes[node].life });
        true
    }

    /// How long the processes of a node may be away and go on as Active: what down_timer_adverts leaves after the interval
    /// in which the last advertisement may have been sent. No router counts on peers that wait longer than the RFC has it.
    fn patience(&self, node: usize) -> u64 {
        let own = self.nodes[node].wanted.iter().map(|(router, config)| {
            let members = self.scenario.routers[*router].members.values();
            let least = members.map(|member| u64::from(member.down_timer_adverts)).min().unwrap_or(1).min(3);
            config.advertisement_interval.duration().as_nanos() as u64 * (least - 1)
        });
        own.min().unwrap_or(0)
    }

    /// Nobody cleans up, and the new process comes when it may or may not be too late.
    fn restart_late(&mut self, node: usize) -> bool {
        if self.nodes[node].process.is_none() {
            return false;
        }
        let routers = self.nodes[node].wanted.keys();
        let longest = routers.map(|router| self.active_down_interval(*router)).max().unwrap_or(MILLI);
        let pause = longest / 2 + self.random.below(2 * longest);
        self.disturb_node(node, pause);
        self.kill_process(node);
        self.plan(pause, Step::Restart { node, life: self.nodes[node].life });
        true
    }

    fn clean_up_and_restart(&mut self, node: usize, lasts: u64) -> bool {
        if self.nodes[node].process.is_none() {
            return false;
        }
        self.disturb_node(node, 0);
        self.kill_process(node);
        let life = self.nodes[node].life;
        let soon = self.random.below(50) * MILLI;
        self.plan(soon, Step::CleanUp { node, life });
        self.plan(soon + lasts, Step::Restart { node, life });
        true
    }

    /// The process dies in the middle of what its engine told it to do; see [`World::bury`].
    fn die_between_actions(&mut self, node: usize) -> bool {
        if self.nodes[node].process.is_none() || self.fuse.is_some() {
            return false;
        }
        self.fuse = Some((node, self.random.between(1, 25)));
        true
    }

    /// Plans the successor of a process that a fuse killed.
    pub(crate) fn bury(&mut self, node: usize) {
        let pause = self.random.below(self.patience(node).max(1));
        self.disturb_node(node, pause + self.active_down_interval_of_node(node));
        self.plan(pause, Step::Restart { node, life: self.nodes[node].life });
    }

    fn active_down_interval_of_node(&self, node: usize) -> u64 {
        self.nodes[node].wanted.keys().map(|router| self.active_down_interval(*router)).max().unwrap_or(0)
    }

    fn stop_and_start(&mut self, node: usize, lasts: u64) -> bool {
        if self.nodes[node].process.is_none() || self.nodes[node].stalled {
            return false;
        }
        self.disturb_node(node, 0);
        self.stop_process(node);
        if self.nodes[node].process.is_none() {
            // A fuse has killed it: somebody else replaces it.
            return true;
        }
        let life = self.nodes[node].life;
        let wait = if self.nodes[node].kernel.health == Health::Sound { KERNEL } else { lasts / 2 };
        self.plan(wait + MILLI, Step::Ended { node, life });
        // Its death counts, too.
        self.plan(wait + MILLI + lasts, Step::Restart { node, life: life + 1 });
        true
    }

    /// A process that was told to stop ends. What a sick kernel left is cleaned up.
    fn ended(&mut self, node: usize) {
        let sound = self.nodes[node].kernel_sick_until < self.now;
        if sound && self.nodes[node].kernel.holdings.iter().any(|holding| holding.present) {
            self.fail(|| format!("node {node}: a process that ended leaves addresses behind"));
        }
        self.disturb_node(node, 0);
        self.kill_process(node);
        self.clean_up(node);
    }

    /// Goes down and comes up, once or several times.
    fn flap(&mut self, lasts: u64, step: impl Fn(bool) -> Step) -> bool {
        let times = self.random.between(1, 4);
        for number in 0..2 * times {
            self.plan(number * lasts / (2 * times), step(number % 2 == 1));
        }
        true
    }

    fn sicken(&mut self, node: usize, health: Health, lasts: u64) -> bool {
        self.set_health(node, health);
        self.plan(lasts, Step::Recover { node });
        self.disturb_node(node, lasts);
        true
    }

    fn set_health(&mut self, node: usize, health: Health) {
        self.trace.line(self.now, || format!("node {node}: kernel {health:?}"));
        // What was refused is tried again an interval later.
        let recovered = self.now + self.longest_active_down_interval();
        let it = &mut self.nodes[node];
        let again = it.kernel.set_health(self.now, &mut self.random, health);
        let life = it.life;
        it.kernel_sick_until = if health == Health::Sound { recovered } else { u64::MAX };
        for (at, router, ticket) in again {
            self.push(at, Event::Kernel { node, life, router, ticket });
        }
        self.disturb_node(node, 0);
    }

    /// Somebody takes the address of an Active Router away by hand, once or too often.
    fn take_address(&mut self, router: usize) -> bool {
        let Some(&node) = self.active(router).first() else { return false };
        if self.nodes[node].stalled || !self.nodes[node].kernel.holdings[router].present {
            return false;
        }
        self.disturb_router(router, 0);
        for _ in 0..*self.random.pick(&[1, 2, 5]) {
            self.nodes[node].kernel.put(router, Ownership::Released);
            self.with(node, |engine, now| engine.handle_address_lost(now, RouterSpec::id(router)));
        }
        true
    }

    fn reload_unchanged(&mut self, node: usize) -> bool {
        if self.nodes[node].process.is_none() || self.nodes[node].stalled {
            return false;
        }
        let wanted = self.nodes[node].wanted.clone();
        let before = self.actions[node];
        self.reload(node, wanted);
        if self.actions[node] != before {
            self.fail(|| format!("node {node}: a reload of the same configuration does something"));
        }
        true
    }

    /// Another priority, interval, address list, preemption, or no such virtual router for a while.
    fn reload_changed(&mut self, node: usize, router: usize) -> bool {
        let mut wanted = self.nodes[node].wanted.clone();
        let ready = !self.nodes[node].stalled && self.nodes[node].kernel_sick_until < self.now;
        let Some(config) = wanted.get_mut(&router).filter(|_| ready) else { return false };
        let original = config.clone();
        match self.random.below(6) {
            0 if !config.is_owner() => config.priority = Priority(self.random.between(2, 250) as u8),
            1 if config.version == Version::V3 => {
                let interval = Duration::from_millis(10 * self.random.between(30, 150));
                config.advertisement_interval = AdvertisementInterval::nearest(Version::V3, interval);
            }
            2 => {
                let count = self.random.between(1, 5);
                config.addresses = virtual_addresses(config.family, config.vrid, count);
            }
            3 => config.preempt_mode = !config.preempt_mode,
            4 if self.scenario.companions(router).is_empty() => {
                wanted.remove(&router);
            }
            _ => config.resources_revision += 1,
        }
        self.same_in_group(&mut wanted, router);
        self.widen_intervals(&wanted);
        self.disturb_node(node, 0);
        self.reload(node, wanted.clone());
        if let Entry::Vacant(gone) = wanted.entry(router) {
            // It comes back with the next reload.
            gone.insert(original);
            self.reload(node, wanted);
        }
        true
    }

    /// Members of a group keep the same priority and preemption.
    fn same_in_group(&self, wanted: &mut BTreeMap<usize, RouterConfig>, router: usize) {
        let Some(model) = wanted.get(&router).cloned() else { return };
        for other in self.scenario.companions(router) {
            if let Some(config) = wanted.get_mut(other) {
                config.priority = model.priority;
                config.preempt_mode = model.preempt_mode;
            }
        }
    }

    fn begin_junk(&mut self, router: usize, lasts: u64) -> bool {
        let kind = Junk::draw(&mut self.random, &self.scenario.routers[router]);
        let gap = self.interval(router) / self.random.between(1, 12);
        self.plan(0, Step::Junk { router, kind, left: lasts / gap + 1, gap });
        true
    }

    fn throw(&mut self, router: usize, kind: Junk, left: u64, gap: u64) {
        let targets: Vec<_> = self.scenario.routers[router].members.keys().copied().collect();
        let target = *self.random.pick(&targets);
        let spec = &self.scenario.routers[router];
        let datagram = kind.build(self.now, &mut self.random, spec, target);
        let link = spec.link;
        self.trace.line(self.now, || format!("link {link}: router {router}: {}", kind.name()));
        self.census.count(kind.name());
        self.transmit(link, None, &datagram);
        if left > 1 {
            self.plan(gap, Step::Junk { router, kind, left: left - 1, gap });
        }
    }
}
