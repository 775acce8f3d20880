//! IPVS services and destinations over generic netlink, and the logic of a virtual server.
