// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. An SQL92 expression as words. Called by `parser`. The longest word counts; key words have no case.
//! A comment runs from `--` to the end of the line, or from `/*` to `*/`. On the last line `--` are two signs.

use super::SqlError;

/// A word of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Nothing follows.
    End,
    Keyword(Keyword),
    /// The name of a property.
    Name(&'a str),
    /// A text without its quotes; inner ones are still doubled.
    Text(&'a str),
    /// A whole number, maybe with an `l` behind it.
    Whole(&'a str),
    /// A number with a point or an exponent.
    Float(&'a str),
    Symbol(Symbol),
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($word:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name { $($word),* }

        impl $name {
            const ALL: &[$name] = &[$($name::$word),*];

            /// As it is written.
            pub(super) fn text(self) -> &'static str {
                match self { $($name::$word => $text),* }
            }
        }
    };
}

words! {
    /// Words that are no names.
    Keyword {
        Not = "NOT", And = "AND", Or = "OR", Between = "BETWEEN", In = "IN", True = "TRUE", False = "FALSE",
        Null = "NULL", Is = "IS", Contains = "CONTAINS", StartsWith = "STARTSWITH", EndsWith = "ENDSWITH",
    }
}

words! {
    /// Signs; a longer one stands before its beginning.
    Symbol {
        NotEqual = "<>", LessEqual = "<=", GreaterEqual = ">=", Less = "<", Greater = ">", Equal = "=",
        Open = "(", Close = ")", Comma = ",", Plus = "+", Minus = "-",
    }
}

/// Cuts words off the front of an expression.
pub(super) struct Lexer<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, rest: text }
    }

    /// Takes the next word, and says at which byte it begins.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'a>), SqlError> {
        self.skip_blanks();
        let at = self.text.len().saturating_sub(self.rest.len());
        let Some(&first) = self.rest.as_bytes().first() else { return Ok((at, Token::End)) };
        let token = match first {
            b'\'' => self.text_literal(at)?,
            b'0'..=b'9' | b'.' => self.number(at)?,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' => self.word(),
            _ => self.symbol(at)?,
        };
        Ok((at, token))
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn skip_blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
            let comment = if self.rest.starts_with("--")
                && let Some(end) = self.rest.find(['\n', '\r'])
            {
                end
            } else if let Some(inside) = self.rest.strip_prefix("/*")
                && let Some(end) = inside.find("*/")
            {
                end.saturating_add(4)
            } else {
                return;
            };
            self.take(comment);
        }
    }

    fn text_literal(&mut self, at: usize) -> Result<Token<'a>, SqlError> {
        let inside = self.rest.get(1..).unwrap_or_default();
        let mut quotes = inside.match_indices('\'').map(|(at, _)| at).peekable();
        while let Some(quote) = quotes.next() {
            if quotes.next_if_eq(&quote.saturating_add(1)).is_none() {
                self.take(quote.saturating_add(2));
                return Ok(Token::Text(inside.get(..quote).unwrap_or_default()));
            }
        }
        Err(error(self.text, at, "the text that begins here has no end"))
    }

    fn number(&mut self, at: usize) -> Result<Token<'a>, SqlError> {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let exponent = |text: &str| {
            let Some(power) = text.strip_prefix(['e', 'E']) else { return 0 };
            let unsigned = power.strip_prefix(['+', '-']).unwrap_or(power);
            match digits(unsigned) {
                0 => 0,
                count => text.len() - unsigned.len() + count,
            }
        };
        let behind = |len: usize| self.rest.get(len..).unwrap_or_default();
        let whole = digits(self.rest);
        if let Some(fraction) = behind(whole).strip_prefix('.') {
            let len = whole + 1 + digits(fraction);
            if len == 1 {
                return Err(error(self.text, at, "a point without digits"));
            }
            let len = len + exponent(behind(len));
            return Ok(Token::Float(self.take(len)));
        }
        match exponent(behind(whole)) {
            // A zero in front of a number stands for itself.
            0 if self.rest.starts_with('0') => Ok(Token::Whole(self.take(1))),
            0 => {
                let long = usize::from(behind(whole).starts_with(['l', 'L']));
                Ok(Token::Whole(self.take(whole + long)))
            }
            exponent => Ok(Token::Float(self.take(whole + exponent))),
        }
    }

    fn word(&mut self) -> Token<'a> {
        let inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
        let word = self.take(self.rest.bytes().take_while(inside).count());
        let keyword = Keyword::ALL.iter().find(|keyword| keyword.text().eq_ignore_ascii_case(word));
        keyword.map_or(Token::Name(word), |keyword| Token::Keyword(*keyword))
    }

    fn symbol(&mut self, at: usize) -> Result<Token<'a>, SqlError> {
        match Symbol::ALL.iter().find(|symbol| self.rest.starts_with(symbol.text())) {
            Some(symbol) => {
                self.take(symbol.text().len());
                Ok(Token::Symbol(*symbol))
            }
            None => {
                let what = format!("{:?} means nothing here", self.rest.chars().next().unwrap_or_default());
                Err(error(self.text, at, what))
            }
        }
    }
}

/// True when a comment without a line end begins here. COMPAT: where a sign can stand it is two signs, else Apache takes no
/// notice of it.
pub(super) fn is_last_comment(text: &str, at: usize) -> bool {
    text.get(at..).is_some_and(|rest| rest.starts_with("--"))
}

/// An error at a byte of the text.
pub(super) fn error(text: &str, at: usize, what: impl Into<String>) -> SqlError {
    let before = text.get(..at).map_or(0, |before| before.chars().count());
    SqlError { at: before.saturating_add(1), what: what.into() }
}

impl std::fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::End => f.write_str("the end"),
            Token::Keyword(keyword) => f.write_str(keyword.text()),
            Token::Symbol(symbol) => write!(f, "'{}'", symbol.text()),
            Token::Text(_) => f.write_str("a text"),
            Token::Name(word) | Token::Whole(word) | Token::Float(word) => f.write_str(word),
        }
    }
}
