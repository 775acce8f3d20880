//! `nft list ruleset` as lines that can be sorted.

/// A line for each property and element of a set or map and for each rule, behind the place where it is. The rules that are
/// looked at here exclude each other, so that their order means nothing.
pub(crate) fn flat(list: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut place: Vec<&str> = Vec::new();
    for line in list.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(opening) = line.strip_suffix('{').filter(|_| !line.starts_with("elements")) {
            place.push(opening.trim());
            lines.push(format!("-nft {}", place.join(" ")));
        } else if line == "}" {
            place.pop();
        } else {
            let words = line.trim_start_matches("elements = {").trim_end_matches('}').trim_end_matches([',', ' ']);
            let one = |words: &str| format!("-nft {}: {}", place.join(" "), words.trim());
            lines.extend(words.split(", ").map(one));
        }
    }
    lines
}
