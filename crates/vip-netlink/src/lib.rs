//! Virtual IP addresses on Linux: rtnetlink plans, gratuitous ARP and unsolicited neighbour advertisements.
