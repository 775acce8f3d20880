//! Where the words of the configuration were written, for messages about what the kernel does not take.

use conf_parser::{Sources, Span};
use serde::{Deserialize, Serialize};

/// The files of a configuration: their names and where their lines begin, without what stands in them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Lines(Vec<File>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct File {
    path: String,
    /// Offsets of the lines.
    starts: Vec<u32>,
}

impl Lines {
    /// The lines of the files that were read.
    pub(crate) fn of(sources: &Sources) -> Self {
        let file = |file: &conf_parser::SourceFile| File {
            path: file.path().display().to_string(),
            starts: file.line_starts().to_vec(),
        };
        Self(sources.files().iter().map(file).collect())
    }

    /// `FILE:LINE: ` of the start of `span`; nothing where that is not known.
    pub(crate) fn prefix(&self, span: Span) -> String {
        let file = usize::try_from(span.file.0).ok().and_then(|file| self.0.get(file));
        file.map_or_else(String::new, |file| {
            let line = file.starts.partition_point(|start| *start <= span.start);
            format!("{}:{line}: ", file.path)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use conf_parser::{MemoryLoader, Options, parse};

    use super::*;

    #[test]
    fn a_word_is_found_in_its_file() {
        let loader = MemoryLoader::new([
            ("k.conf", "! first\ninclude more.conf\n"),
            ("more.conf", "\nvirtual_server fwmark 3 {\n lvs_sched rr\n real_server 10.0.0.1 80 {\n }\n}\n"),
        ]);
        let parsed = parse(&loader, Path::new("k.conf"), &Options::default());
        let lines = Lines::of(&parsed.sources);
        let server = &parsed.config.virtual_servers[0];
        assert_eq!(lines.prefix(server.service.span), "more.conf:2: ");
        assert_eq!(lines.prefix(server.places.of("virtual_server", "lvs_sched").unwrap()), "more.conf:3: ");
        assert_eq!(Lines::default().prefix(server.service.span), "");
    }
}
