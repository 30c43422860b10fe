// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. What a peer says it is written in: a name in JSON headers, a number in binary ones.

use std::fmt;

/// The language of a peer's implementation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Language(pub u8);

/// Names in the order of their numbers.
const NAMES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS",
    "RUST", "NODE_JS",
];

impl Language {
    /// Java, which is also what a header means that names none.
    pub const JAVA: Language = Language(0);
    /// C and C++.
    pub const CPP: Language = Language(1);
    /// C# and its family.
    pub const DOTNET: Language = Language(2);
    /// Python.
    pub const PYTHON: Language = Language(3);
    /// What has no name of its own.
    pub const OTHER: Language = Language(7);
    /// HTTP gateways.
    pub const HTTP: Language = Language(8);
    /// Go.
    pub const GO: Language = Language(9);
    /// PHP.
    pub const PHP: Language = Language(10);
    /// Rust: us.
    pub const RUST: Language = Language(12);
    /// Node.js.
    pub const NODE_JS: Language = Language(13);

    /// The name that stands in JSON; `OTHER` for a number without one.
    pub fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0)).copied().unwrap_or("OTHER")
    }

    /// The language of that name; [`Language::OTHER`] for a name we do not know.
    pub fn from_name(name: &str) -> Language {
        let found = NAMES.iter().position(|known| *known == name).and_then(|at| u8::try_from(at).ok());
        found.map_or(Language::OTHER, Language)
    }
}

impl Default for Language {
    fn default() -> Language {
        Language::JAVA
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for (language, name) in [
            (Language::JAVA, "JAVA"),
            (Language::CPP, "CPP"),
            (Language::DOTNET, "DOTNET"),
            (Language::PYTHON, "PYTHON"),
            (Language::OTHER, "OTHER"),
            (Language::HTTP, "HTTP"),
            (Language::GO, "GO"),
            (Language::PHP, "PHP"),
            (Language::RUST, "RUST"),
            (Language::NODE_JS, "NODE_JS"),
        ] {
            assert_eq!(language.name(), name);
            assert_eq!(Language::from_name(name), language);
        }
        assert_eq!(Language(200).name(), "OTHER");
        assert_eq!(Language::from_name("COBOL"), Language::OTHER);
    }
}
