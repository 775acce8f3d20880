//! The kernel of a host, as far as virtual addresses go: one after the other, slowly, or not at all.

use vrrp_proto::{Ownership, Ticket};

use super::random::Random;
use super::scenario::MILLI;

/// The longest work of a sound kernel on one order.
pub(crate) const KERNEL: u64 = 20 * MILLI;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Health {
    #[default]
    Sound,
    /// Takes up to so many nanoseconds for each order.
    Slow(u64),
    /// Refuses what it is asked, in so many of 100 cases.
    Refusing(u64),
    /// Does nothing and says nothing.
    Hanging,
}

/// What the kernel knows of one virtual router.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Holding {
    /// Whether its addresses are there.
    pub(crate) present: bool,
    /// Whether they were announced since they are there.
    pub(crate) announced: bool,
    /// The order under way; a newer one replaces it.
    pub(crate) order: Option<(Ticket, Ownership)>,
    /// When the last answer was given, and whether it said that the order is carried out.
    pub(crate) answered: u64,
    pub(crate) accepted: bool,
}

#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) health: Health,
    pub(crate) holdings: Vec<Holding>,
    free_at: u64,
}

impl Kernel {
    pub(crate) fn new(routers: usize) -> Self {
        Self { health: Health::Sound, holdings: vec![Holding::default(); routers], free_at: 0 }
    }

    /// Takes an order; when it will be done, if ever.
    pub(crate) fn submit(
        &mut self,
        now: u64,
        random: &mut Random,
        router: usize,
        order: (Ticket, Ownership),
    ) -> Option<u64> {
        self.holdings[router].order = Some(order);
        let work = match self.health {
            Health::Hanging => return None,
            Health::Slow(longest) => random.below(longest),
            Health::Sound | Health::Refusing(_) => random.below(KERNEL / self.holdings.len() as u64),
        };
        self.free_at = self.free_at.max(now) + work;
        Some(self.free_at)
    }

    /// Carries out the order with this ticket, unless a newer one replaced it: whether it was accepted.
    pub(crate) fn complete(&mut self, now: u64, random: &mut Random, router: usize, ticket: Ticket) -> Option<bool> {
        if self.health == Health::Hanging {
            return None;
        }
        let (_, ownership) = self.holdings[router].order.take_if(|(pending, _)| *pending == ticket)?;
        let accepted = !matches!(self.health, Health::Refusing(percent) if random.chance(percent));
        self.holdings[router].answered = now;
        self.holdings[router].accepted = accepted;
        if accepted {
            self.put(router, ownership);
        }
        Some(accepted)
    }

    /// Another health; a kernel that recovers goes on with what waits.
    pub(crate) fn set_health(&mut self, now: u64, random: &mut Random, health: Health) -> Vec<(u64, usize, Ticket)> {
        self.health = health;
        self.free_at = now;
        let waiting: Vec<_> = self.holdings.iter().enumerate().filter_map(|(at, it)| Some((at, it.order?))).collect();
        let again = |(router, order): (usize, (Ticket, Ownership))| {
            Some((self.submit(now, random, router, order)?, router, order.0))
        };
        waiting.into_iter().filter_map(again).collect()
    }

    /// The process that waited is gone: each order was carried out or not.
    pub(crate) fn orphan(&mut self, random: &mut Random) {
        for router in 0..self.holdings.len() {
            if let Some((_, ownership)) = self.holdings[router].order.take()
                && random.chance(50)
            {
                self.put(router, ownership);
            }
        }
    }

    /// The host starts anew.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.holdings.len());
    }

    /// Whatever is there, without an order.
    pub(crate) fn put(&mut self, router: usize, ownership: Ownership) {
        let holding = &mut self.holdings[router];
        let present = ownership == Ownership::Held;
        holding.announced &= holding.present && present;
        holding.present = present;
    }
}
