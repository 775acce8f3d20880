//! Settings for IPv4 that are changed for a while, and where they are read and written: those of interfaces over
//! netlink, the others below /proc.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;

use vip_netlink::{Change, Ipv4Conf, Ipv4Setting, LinkIndex, RouteSocket};

use super::view::View;

/// A setting, by its place below /proc/sys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sysctl {
    /// `net/ipv4/conf/DEVICE/SETTING`
    Conf {
        /// The interface, `all` or `default`.
        device: String,
        /// Which of its settings.
        setting: Ipv4Setting,
    },
    /// `net/ipv4/igmp_link_local_mcast_reports`: whether this host tells switches of the link-local groups that it hears.
    LinkLocalReports,
}

/// A value that stands for another one for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// What it was.
    pub(crate) original: u32,
    /// What it is made.
    pub(crate) ours: u32,
}

impl Sysctl {
    /// The setting of a device.
    pub(crate) fn new(device: &str, setting: Ipv4Setting) -> Self {
        Self::Conf { device: device.to_owned(), setting }
    }

    /// What [`Display`](fmt::Display) wrote.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        if text == LINK_LOCAL_REPORTS {
            return Some(Self::LinkLocalReports);
        }
        let (device, name) = text.strip_prefix(FOLDER)?.rsplit_once('/')?;
        let setting = Ipv4Setting::ALL.into_iter().find(|setting| setting.name() == name)?;
        // What is read from a file must not lead out of the folder.
        (!device.is_empty() && !device.contains('/') && device != "." && device != "..")
            .then(|| Self::new(device, setting))
    }

    /// The interface and its setting, if it is of one.
    fn of_link(&self) -> Option<(&str, Ipv4Setting)> {
        match self {
            Self::Conf { device, setting } if !matches!(device.as_str(), "all" | "default") => Some((device, *setting)),
            _ => None,
        }
    }

    /// The interface, if it is of one.
    pub(crate) fn device(&self) -> Option<&str> {
        self.of_link().map(|(device, _)| device)
    }

    /// The same setting under the name that its interface has in `names`, if it is there.
    pub(crate) fn renamed(&self, names: &BTreeMap<String, String>) -> Option<Self> {
        let (device, setting) = self.of_link()?;
        names.get(device).map(|name| Self::new(name, setting))
    }

    /// Whether it counts for every interface.
    pub(crate) fn is_of_all(&self) -> bool {
        matches!(self, Self::Conf { device, .. } if device == "all")
    }

    /// Its value; `None` if there is no such device.
    pub(crate) fn value(&self, view: &View) -> Option<u32> {
        if let Some((device, setting)) = self.of_link() {
            return view.link(device)?.ipv4.value(setting);
        }
        fs::read_to_string(self.path()).ok()?.trim().parse().ok()
    }

    /// Below /proc; names of interfaces have no `/`.
    fn path(&self) -> String {
        format!("/proc/sys/{self}")
    }
}

const FOLDER: &str = "net/ipv4/conf/";
const LINK_LOCAL_REPORTS: &str = "net/ipv4/igmp_link_local_mcast_reports";

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conf { device, setting } => write!(f, "{FOLDER}{device}/{}", setting.name()),
            Self::LinkLocalReports => f.write_str(LINK_LOCAL_REPORTS),
        }
    }
}

impl Kept {
    /// As it is told to the supervisor.
    pub(crate) fn to_text(self) -> String {
        format!("{} {}", self.original, self.ours)
    }

    /// What [`to_text`](Self::to_text) wrote.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let (original, ours) = text.split_once(' ')?;
        Some(Self { original: original.parse().ok()?, ours: ours.parse().ok()? })
    }
}

/// Why a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Something needs it.
    Change,
    /// Nothing needs the other one any more.
    Restore,
}

/// Writes those of `values` that differ from what is there. How many it were, and what is refused, with the reason.
pub(crate) fn write(
    values: &[(&Sysctl, u32)],
    purpose: Purpose,
    route: &mut RouteSocket,
    view: &View,
) -> (usize, Vec<String>) {
    let (mut count, mut refused) = (0, Vec::new());
    for (sysctl, value) in values {
        let Some(present) = sysctl.value(view).filter(|present| present != value) else { continue };
        let of_link = sysctl.of_link().and_then(|(device, setting)| Some((view.link(device)?.index, setting)));
        let result = match of_link {
            Some((link, setting)) => write_of_link(link, Ipv4Conf::default().with(setting, *value), route),
            None => write_below_proc(sysctl, present, *value, purpose),
        };
        count += 1;
        refused.extend(result.err());
    }
    (count, refused)
}

fn write_of_link(link: LinkIndex, conf: Ipv4Conf, route: &mut RouteSocket) -> Result<(), String> {
    let refused = route.apply(&[Change::SetIpv4Conf { link, conf }]).refused;
    refused.into_iter().next().map_or(Ok(()), |refusal| Err(refusal.error.to_string()))
}

fn write_below_proc(sysctl: &Sysctl, present: u32, value: u32, purpose: Purpose) -> Result<(), String> {
    let name = sysctl.to_string().replace('/', ".");
    fs::write(sysctl.path(), value.to_string())
        .map_err(|error| format!("setting sysctl {name} to {value}: {error}"))?;
    match purpose {
        Purpose::Change => tracing::info!("NOTICE: setting sysctl {name} from {present} to {value}"),
        Purpose::Restore => tracing::info!("NOTICE: resetting sysctl {name} to {value}"),
    }
    Ok(())
}

/// Keeps a link from doing IPv6.
///
/// # Errors
/// What /proc says; nothing where there is no IPv6.
pub(crate) fn disable_ipv6(device: &str) -> Result<(), String> {
    let path = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
    match fs::read_to_string(&path) {
        Ok(value) if value.trim() == "0" => {
            fs::write(&path, "1").map_err(|error| format!("setting net/ipv6/conf/{device}/disable_ipv6 to 1: {error}"))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("reading net/ipv6/conf/{device}/disable_ipv6: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_back_as_it_was_written() {
        for device in ["eth0", "eth0.5", "all"] {
            let sysctl = Sysctl::new(device, Ipv4Setting::ArpIgnore);
            assert_eq!(Sysctl::from_text(&sysctl.to_string()), Some(sysctl));
        }
        assert_eq!(Sysctl::from_text(&Sysctl::LinkLocalReports.to_string()), Some(Sysctl::LinkLocalReports));
        let kept = Kept { original: 2, ours: 1 };
        assert_eq!(Kept::from_text(&kept.to_text()), Some(kept));
    }

    #[test]
    fn what_leads_elsewhere_is_no_setting() {
        for text in [
            "net/ipv4/conf/../arp_ignore",
            "net/ipv4/conf/a/b/arp_ignore",
            "net/ipv4/conf/eth0/forwarding",
            "net/ipv4/conf//arp_ignore",
            "kernel/arp_ignore",
        ] {
            assert_eq!(Sysctl::from_text(text), None, "{text}");
        }
        assert_eq!(Kept::from_text("1"), None);
    }
}
