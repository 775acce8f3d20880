//! What was found wrong, where, and what to do about it.

use std::fmt;

use crate::source::Span;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Severity {
    /// Worth knowing; keepalived itself says nothing about it.
    Note,
    /// Read, though perhaps not as meant.
    Warning,
    /// Something that was written is not used.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// keepalived's own sorting of its reports, mildest last. It decides the exit status of `--config-test`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Class {
    /// A file that must be there is not.
    FileNotFound,
    /// An interface does not exist.
    BadInterface,
    /// Cannot run.
    Fatal,
    /// Something about several files at once.
    MultipleFiles,
    /// A word that no block of this kind knows.
    UnknownKeyword,
    /// `{` where none belongs.
    UnexpectedOpeningBrace,
    /// `{` missing after the start of a block.
    MissingOpeningBrace,
    /// One `}` too many.
    UnexpectedClosingBrace,
    /// A block that is never closed.
    MissingClosingBrace,
    /// An odd number of `"` on a line.
    UnmatchedQuote,
    /// A keyword without the value that it needs.
    MissingParameter,
    /// A number that is none, or out of range.
    InvalidNumber,
    /// Any other mistake.
    General,
    /// A value that was put right.
    Warning,
    /// An old word.
    Deprecated,
    /// Scripts that anybody may change.
    Security,
    /// keepalived itself says nothing about it, or says it without changing its exit status.
    Notice,
}

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)+) => {
        /// The stable name of a kind of finding: `K0101` means the same in every release.
        ///
        /// `K00xx` files and characters, `K01xx` lines and braces, `K02xx` values, `K03xx` `global_defs`,
        /// `K04xx` `vrrp_instance`, `K05xx` `virtual_server`, `K06xx` checkers, `K07xx` `bfd_instance`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $meaning] $name,)+
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code as it is printed.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What findings with this code have in common.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }
        }
    };
}

codes! {
    FileUnreadable = "K0001", "A file cannot be read.";
    IncludeMissing = "K0002", "An include matches no file.";
    IncludeLoop = "K0003", "A file includes itself, directly or through others.";
    LimitReached = "K0004", "A limit on size, depth or number was reached.";
    NotUtf8 = "K0005", "Bytes are not UTF-8.";
    NulByte = "K0006", "A line holds a NUL byte.";
    ByteOrderMark = "K0007", "A file starts with a byte order mark.";
    NoBreakSpace = "K0008", "A space is not an ASCII space.";
    TypographicQuote = "K0009", "A quotation mark is not an ASCII quotation mark.";
    LongLine = "K0010", "A line is longer than keepalived reads.";
    LoneReturn = "K0011", "A carriage return stands without a line feed.";
    UnknownKeyword = "K0101", "A word is not a keyword of its block.";
    UnexpectedOpeningBrace = "K0102", "An opening brace stands where none belongs.";
    MissingOpeningBrace = "K0103", "A block has no opening brace.";
    ExtraClosingBrace = "K0104", "A closing brace closes nothing.";
    MissingClosingBrace = "K0105", "A block is never closed.";
    UnmatchedQuote = "K0106", "A quotation mark is not closed on its line.";
    MissingParameter = "K0107", "A keyword lacks a value.";
    ExtraParameter = "K0108", "A line has more words than are used.";
    BadDefinition = "K0109", "A definition or repetition is malformed.";
    BadReference = "K0110", "A reference to a definition cannot be resolved.";
    BadNumber = "K0201", "A number is none or out of range.";
    BadBoolean = "K0202", "A switch value is neither on nor off.";
    BadAddress = "K0203", "An address cannot be read.";
    BadWord = "K0204", "A value is none of the words that are allowed.";
    Deprecated = "K0205", "A word is still read but has a newer form.";
    BadGlobal = "K0301", "A value of global_defs cannot be used.";
    ScriptSecurity = "K0302", "Scripts run without script security.";
    UnknownInstance = "K0303", "A setting names an instance that does not exist.";
    AlreadySpecified = "K0304", "A setting that counts once is given again.";
    InterfaceGroup = "K0305", "Settings of an interface cannot be used as written.";
    ScriptUser = "K0306", "The account that scripts are to run as does not exist.";
    ScriptMissing = "K0307", "A script does not exist, or may not be executed.";
    UnsafeScript = "K0308", "A script that runs as root may be changed by others.";
    ReadableSecret = "K0309", "A password stands in a file that everybody may read.";
    ShortLease = "K0310", "A lease of virtual addresses is shorter than the time in which a peer takes over.";
    UnknownState = "K0401", "The state is neither MASTER nor BACKUP.";
    NoVrid = "K0402", "An instance has no virtual router id.";
    NoInterface = "K0403", "An instance has no usable interface.";
    DuplicateInstance = "K0404", "Two instances have the same name.";
    DuplicateVrid = "K0405", "Two instances use the same virtual router id on one link.";
    NoAddress = "K0406", "An instance has no virtual address.";
    AddressFamily = "K0407", "An address is of another family than its instance.";
    AdjustedValue = "K0408", "A value was put right.";
    Authentication = "K0409", "Authentication is not usable as written.";
    Preemption = "K0410", "Preemption options contradict each other.";
    DuplicateAddress = "K0411", "An address is listed twice.";
    MissingInterface = "K0412", "An interface does not exist.";
    UnicastPeer = "K0413", "Unicast settings cannot be used as written.";
    TooManyAddresses = "K0414", "More addresses than an advertisement can carry.";
    OwnInterface = "K0415", "An instance tracks its own interface.";
    TrackerWeight = "K0416", "A weight cannot count here.";
    UnknownTracked = "K0417", "What is tracked is not defined above.";
    BadTracker = "K0418", "A vrrp_script, track_file or vrrp_track_process cannot be used as written.";
    DuplicateName = "K0419", "Two blocks of one kind have the same name.";
    SyncGroup = "K0420", "A sync group cannot be used as written.";
    StrictMode = "K0421", "A setting contradicts strict mode.";
    VirtualLink = "K0422", "A macvlan or ipvlan cannot be used as written.";
    SharedAddress = "K0423", "Two instances hold the same address.";
    OutsideNetwork = "K0424", "An address lies in no network of its interface.";
    WeightWithoutEffect = "K0425", "A weight can never change who is master.";
    SilentAddress = "K0426", "Strict mode drops what is sent to an address.";
    BadRoute = "K0430", "A route cannot be used as written.";
    BadRule = "K0431", "A rule cannot be used as written.";
    NotTracked = "K0432", "A route or rule cannot be tracked as written.";
    NoPreference = "K0433", "A rule has no preference.";
    UnknownName = "K0434", "The host knows no number for a name.";
    BadVirtualServer = "K0501", "A virtual server cannot be used as written.";
    NoRealServer = "K0502", "A virtual server has no real server.";
    LvsDefault = "K0503", "A value that should be given was defaulted.";
    BadRealServer = "K0504", "A real server cannot be used as written.";
    DuplicateService = "K0505", "Two virtual servers stand for the same service.";
    BadGroup = "K0506", "A virtual server group cannot be used as written.";
    UnreachableQuorum = "K0507", "A quorum can never be reached.";
    DuplicateSsl = "K0508", "A second SSL block replaces the first.";
    BadChecker = "K0601", "A checker cannot be used as written.";
    BadRegex = "K0602", "A pattern for a page, or a word that belongs to it, cannot be used.";
    ShortInterval = "K0603", "A check begins anew before the one before can have ended.";
    BadBfd = "K0701", "A BFD instance cannot be used as written.";
    DuplicateBfd = "K0702", "Two BFD instances are the same session.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Another place that belongs to the finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The place.
    pub span: Span,
    /// What is there.
    pub message: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The stable name of this kind of finding.
    pub code: Code,
    /// keepalived's class for it.
    pub class: Class,
    /// Whether keepalived would refuse to start because of it.
    pub refuses_start: bool,
    /// Where; `None` only when a file could not be read at all.
    pub span: Option<Span>,
    /// One sentence; in keepalived's own words where it has some.
    pub message: String,
    /// What exactly is wrong at the place, if the message does not say.
    pub label: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// Text that would be right at `span`.
    pub replacement: Option<String>,
    /// Other places that belong to it.
    pub related: Vec<Related>,
}

impl Diagnostic {
    /// A finding of any kind; [`error`](Self::error), [`warning`](Self::warning) and [`note`](Self::note) are shorter.
    pub fn new(severity: Severity, code: Code, class: Class, span: Option<Span>, message: impl Into<String>) -> Self {
        Self {
            severity,
            code,
            class,
            refuses_start: false,
            span,
            message: message.into(),
            label: None,
            help: None,
            replacement: None,
            related: Vec::new(),
        }
    }

    /// A finding about something that is not used as written.
    pub fn error(code: Code, class: Class, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, class, Some(span), message)
    }

    /// A finding about something that was perhaps not meant.
    pub fn warning(code: Code, class: Class, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, class, Some(span), message)
    }

    /// Something worth knowing that keepalived itself does not report.
    pub fn note(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, Class::Notice, Some(span), message)
    }

    /// Whether keepalived itself reports it, so that its `--config-test` does not end with 0.
    pub fn is_reported(&self) -> bool {
        self.refuses_start || self.class != Class::Notice
    }

    /// The daemon does not start with it.
    #[must_use]
    pub fn refusing(mut self) -> Self {
        self.refuses_start = true;
        self
    }

    /// Says what exactly is wrong at the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Gives the text that would be right at the place.
    #[must_use]
    pub fn replacement(mut self, text: impl Into<String>) -> Self {
        self.replacement = Some(text.into());
        self
    }

    /// Adds another place.
    #[must_use]
    pub fn related(mut self, span: Span, message: impl Into<String>) -> Self {
        self.related.push(Related { span, message: message.into() });
        self
    }
}

/// Exit status of `--config-test` for these findings.
///
/// 4: the daemon would not start; 6: scripts are used while script security is off; 5: other
/// findings; 0: none, or notes only. keepalived keeps the mildest class instead, so that a
/// deprecation notice hides what stops the start.
pub fn config_test_exit_code(diagnostics: &[Diagnostic]) -> u8 {
    let any = |test: fn(&Diagnostic) -> bool| diagnostics.iter().any(test);
    if any(|finding| finding.refuses_start || finding.class <= Class::Fatal) {
        4
    } else if any(|finding| finding.class == Class::Security) {
        6
    } else if any(Diagnostic::is_reported) {
        5
    } else {
        0
    }
}

/// The findings of one reading, of which there is an end.
#[derive(Debug)]
pub(crate) struct Findings {
    listed: Vec<Diagnostic>,
    /// Most that are listed.
    limit: usize,
    left_out: LeftOut,
}

impl Findings {
    pub(crate) fn new(limit: usize) -> Self {
        Self { listed: Vec::new(), limit, left_out: LeftOut::default() }
    }

    /// Whether there are so many that of others only the worst is told.
    pub(crate) fn is_full(&self) -> bool {
        self.listed.len() >= self.limit
    }

    pub(crate) fn push(&mut self, finding: Diagnostic) {
        if !self.is_full() {
            self.listed.push(finding);
        } else {
            self.left_out.add(finding);
        }
    }

    pub(crate) fn extend(&mut self, findings: impl IntoIterator<Item = Diagnostic>) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }

    /// How many are listed.
    pub(crate) fn len(&self) -> usize {
        self.listed.len()
    }

    /// Takes back those of `codes` that were listed after the `first` ones.
    pub(crate) fn take_back(&mut self, first: usize, codes: &[Code]) {
        let found = self.listed.split_off(first);
        self.listed.extend(found.into_iter().filter(|finding| !codes.contains(&finding.code)));
    }

    /// Those listed, the last one first.
    pub(crate) fn recent(&mut self) -> impl Iterator<Item = &mut Diagnostic> {
        self.listed.iter_mut().rev()
    }

    /// All of them, in the order of the files where they have a place.
    pub(crate) fn sorted(mut self) -> Vec<Diagnostic> {
        self.listed.extend(self.left_out.finding());
        self.listed.sort_by_key(|finding| finding.span);
        without_follow_ups(&mut self.listed);
        self.listed
    }
}

/// Leaves out what is found about the text of a reference that stays as it is, unless it refuses the start. The findings
/// are in the order of their places.
fn without_follow_ups(diagnostics: &mut Vec<Diagnostic>) {
    let broken = |finding: &&Diagnostic| finding.code == Code::BadReference && finding.severity == Severity::Error;
    let references: Vec<_> = diagnostics.iter().filter(broken).filter_map(|finding| finding.span).collect();
    if references.is_empty() {
        return;
    }
    diagnostics.retain(|finding| {
        let Some(span) = finding.span.filter(|_| !finding.refuses_start && finding.code != Code::BadReference) else {
            return true;
        };
        let next = references.partition_point(|reference| (reference.file, reference.end) <= (span.file, span.start));
        !references.get(next).is_some_and(|reference| span.file == reference.file && span.end > reference.start)
    });
}

/// Findings beyond the limit.
#[derive(Debug, Default)]
struct LeftOut {
    count: usize,
    /// The worst of them.
    worst: Option<Diagnostic>,
}

impl LeftOut {
    fn add(&mut self, finding: Diagnostic) {
        self.count += 1;
        let rank = |finding: &Diagnostic| (!finding.refuses_start, finding.class);
        if self.worst.as_ref().is_none_or(|worst| rank(&finding) < rank(worst)) {
            self.worst = Some(finding);
        }
    }

    /// One finding that stands for all.
    fn finding(&mut self) -> Option<Diagnostic> {
        let worst = self.worst.take()?;
        let message = format!("{} more findings are not listed; the worst: {}", self.count, worst.message);
        Some(Diagnostic { message, ..worst })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(class: Class) -> Diagnostic {
        Diagnostic::warning(Code::BadWord, class, Span::default(), "x")
    }

    #[test]
    fn the_worst_finding_decides() {
        assert_eq!(config_test_exit_code(&[]), 0);
        assert_eq!(config_test_exit_code(&[finding(Class::Notice)]), 0);
        assert_eq!(config_test_exit_code(&[finding(Class::Deprecated)]), 5);
        assert_eq!(config_test_exit_code(&[finding(Class::Deprecated), finding(Class::Security)]), 6);
        assert_eq!(config_test_exit_code(&[finding(Class::Security), finding(Class::General).refusing()]), 4);
        assert_eq!(config_test_exit_code(&[finding(Class::FileNotFound)]), 4);
    }

    #[test]
    fn codes_are_distinct_and_in_order() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
    }
}
