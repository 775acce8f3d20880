//! How servers are, for people.

use crate::control::servers::{
    CheckerState, DrainProgress, DrainState, RealServerState, SorryServerState, VirtualServerState,
};

const HEAD: [&str; 8] = ["real server", "state", "weight", "configured", "active", "inactive", "remembered", "checks"];

/// A block for each virtual server.
pub(super) fn text(states: &[VirtualServerState]) -> String {
    if states.is_empty() {
        return "No virtual server is configured\n".to_owned();
    }
    states.iter().map(block).collect::<Vec<_>>().join("\n")
}

fn block(state: &VirtualServerState) -> String {
    let rows: Vec<_> = std::iter::once(HEAD.map(str::to_owned)).chain(state.real_servers.iter().map(row)).collect();
    let widths: [usize; 8] = std::array::from_fn(|column| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    heading(state) + &rows.iter().map(line).collect::<String>()
}

fn heading(state: &VirtualServerState) -> String {
    if state.leaving {
        return format!("{}: not configured any more, its connections may end\n", state.name);
    }
    let VirtualServerState { name, live_weight, quorum, hysteresis, .. } = state;
    let quorum_state = if state.quorum_up {
        format!("up, live weight {live_weight}, lost {}", below(quorum.saturating_sub(*hysteresis)))
    } else {
        format!("down, live weight {live_weight}, gained from {} on", quorum.saturating_add(*hysteresis))
    };
    let sorry_server = match &state.sorry_server {
        Some(SorryServerState { name, in_use: true }) => format!("; the sorry server {name} takes the connections"),
        Some(SorryServerState { name, in_use: false }) => format!("; sorry server {name}"),
        None => String::new(),
    };
    format!("{name}: quorum {quorum_state}{sorry_server}\n")
}

fn below(weight: u64) -> String {
    if weight <= 1 { "at 0".to_owned() } else { format!("below {weight}") }
}

fn row(state: &RealServerState) -> [String; 8] {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let connections = state.connections;
    [
        state.name.clone(),
        condition(state),
        number(state.weight.map(u64::from)),
        number(state.configured_weight.map(u64::from)),
        number(connections.map(|counts| counts.active)),
        number(connections.map(|counts| counts.inactive)),
        number(connections.map(|counts| counts.persistent)),
        checks(&state.checkers),
    ]
}

fn condition(state: &RealServerState) -> String {
    let health = match (state.leaving, state.up) {
        (true, _) => "leaving",
        (false, true) => "up",
        (false, false) => "down",
    };
    let Some(DrainState { progress, seconds, seconds_left }) = state.drain else { return health.to_owned() };
    let (since, left) = (time(seconds), seconds_left.map(|left| format!(", at most {} more", time(left))));
    match progress {
        DrainProgress::Draining => format!("{health}, draining for {since}{}", left.unwrap_or_default()),
        DrainProgress::Drained => format!("{health}, drained, out of use for {since}"),
        DrainProgress::TimedOut => format!("{health}, not drained in time, out of use for {since}"),
    }
}

/// In the two largest units.
fn time(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

fn checks(checkers: &[CheckerState]) -> String {
    let verdict = |checker: &CheckerState| match (checker.up, checker.reported) {
        (_, false) => "no result yet",
        (true, true) => "up",
        (false, true) => "down",
    };
    let each = checkers.iter().map(|checker| format!("{} {}", checker.kind, verdict(checker)));
    let each: Vec<_> = each.collect();
    if each.is_empty() { "-".to_owned() } else { each.join(", ") }
}
