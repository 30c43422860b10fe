// SPDX-License-Identifier: Apache-2.0
//! Sans-IO. From the words of an SQL92 expression to a compiled one, by descending through the levels of its grammar:
//! OR, AND, equality, comparison, sign and NOT, and what stands alone. Called by `Sql::parse`.
//! Refuses what could never be compared, as Apache does.
//! COMPAT: Apache stops reading at the first word that does not fit and takes what it has (`a = 007` is `a = 0`, `a LIKE
//! 'x'` is `a`); here such an expression is refused.

use std::cmp::Ordering;

use super::condition::{Affix, Choice, Condition, Expr, Literal, Place, Relation};
use super::lexer::{self, Keyword, Lexer, Symbol, Token};
use super::number;
use super::slots::Names;
use super::{MAX_DEPTH, SqlError, value};

/// Compiles an expression; its properties are numbered in `names`.
pub(super) fn parse(text: &str, names: &mut Names) -> Result<Condition, SqlError> {
    let mut lexer = Lexer::new(text);
    let (at, token) = lexer.next()?;
    let mut parser = Parser { text, lexer, at, token, names, nested: 0 };
    let parsed = parser.or()?;
    if parser.token != Token::End && !lexer::is_last_comment(text, parser.at) {
        return Err(parser.unexpected("the end"));
    }
    Ok(parser.boolean(parsed)?.part)
}

struct Parser<'a, 'n> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// The word that is looked at, and the byte at which it begins.
    token: Token<'a>,
    at: usize,
    names: &'n mut Names,
    nested: usize,
}

/// A part of the expression, where it begins, and how deep it is nested.
struct Parsed<T> {
    part: T,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a, '_> {
    fn error(&self, at: usize, what: impl Into<String>) -> SqlError {
        lexer::error(self.text, at, what)
    }

    fn unexpected(&self, wanted: &str) -> SqlError {
        self.error(self.at, format!("{wanted} should stand here instead of {}", self.token))
    }

    fn advance(&mut self) -> Result<Token<'a>, SqlError> {
        let (at, next) = self.lexer.next()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, next))
    }

    /// Steps over a word if it is the one that stands here.
    fn skip(&mut self, token: Token<'_>) -> Result<bool, SqlError> {
        let is_here = self.token == token;
        if is_here {
            self.advance()?;
        }
        Ok(is_here)
    }

    fn expect(&mut self, token: Token<'_>) -> Result<(), SqlError> {
        if self.skip(token)? { Ok(()) } else { Err(self.unexpected(&token.to_string())) }
    }

    /// Puts a part around others, if that does not nest too deep.
    fn wrap<T>(&self, at: usize, depth: usize, part: T) -> Result<Parsed<T>, SqlError> {
        if depth >= MAX_DEPTH {
            return Err(self.error(at, format!("more than {MAX_DEPTH} conditions are nested")));
        }
        Ok(Parsed { part, at, depth: depth + 1 })
    }

    fn wrap_condition(
        &self,
        at: usize,
        depth: usize,
        condition: Condition,
    ) -> Result<Parsed<Expr>, SqlError> {
        self.wrap(at, depth, Expr::Condition(Box::new(condition)))
    }

    /// Takes a part as a condition.
    fn boolean(&self, parsed: Parsed<Expr>) -> Result<Parsed<Condition>, SqlError> {
        let part = match parsed.part {
            Expr::Condition(condition) => *condition,
            Expr::Property(slot) => Condition::Cast(slot),
            Expr::Literal(Literal::Bool(value)) => Condition::Constant(Some(value)),
            Expr::Literal(Literal::Null) => Condition::Constant(None),
            Expr::Literal(_) | Expr::Negated(_) => {
                return Err(self.error(parsed.at, "a condition should stand here instead of a value"));
            }
        };
        Ok(Parsed { part, at: parsed.at, depth: parsed.depth })
    }

    fn or(&mut self) -> Result<Parsed<Expr>, SqlError> {
        self.chain(Keyword::Or, Self::and, Condition::Or)
    }

    fn and(&mut self) -> Result<Parsed<Expr>, SqlError> {
        self.chain(Keyword::And, Self::equality, Condition::And)
    }

    /// Parts of one level with the same word between them.
    fn chain(
        &mut self,
        between: Keyword,
        part: fn(&mut Self) -> Result<Parsed<Expr>, SqlError>,
        join: fn(Box<[Condition]>) -> Condition,
    ) -> Result<Parsed<Expr>, SqlError> {
        let first = part(self)?;
        if self.token != Token::Keyword(between) {
            return Ok(first);
        }
        let first = self.boolean(first)?;
        let (at, mut depth, mut conditions) = (first.at, first.depth, vec![first.part]);
        while self.skip(Token::Keyword(between))? {
            let next = part(self)?;
            let next = self.boolean(next)?;
            depth = depth.max(next.depth);
            conditions.push(next.part);
        }
        self.wrap_condition(at, depth, join(conditions.into()))
    }

    fn equality(&mut self) -> Result<Parsed<Expr>, SqlError> {
        let mut left = self.comparison()?;
        loop {
            let at = left.at;
            left = if self.skip(Token::Symbol(Symbol::Equal))? {
                let right = self.comparison()?;
                let (depth, condition) = self.equal(left, right)?;
                self.wrap_condition(at, depth, condition)?
            } else if self.skip(Token::Symbol(Symbol::NotEqual))? {
                let right = self.comparison()?;
                let (depth, condition) = self.equal(left, right)?;
                self.wrap_condition(at, depth + 1, Condition::Not(Box::new(condition)))?
            } else if self.skip(Token::Keyword(Keyword::Is))? {
                let is_null = !self.skip(Token::Keyword(Keyword::Not))?;
                self.expect(Token::Keyword(Keyword::Null))?;
                let condition = Condition::IsNull(left.part);
                let condition = if is_null { condition } else { Condition::Not(Box::new(condition)) };
                self.wrap_condition(at, left.depth + 1, condition)?
            } else {
                return Ok(left);
            };
        }
    }

    fn equal(&self, left: Parsed<Expr>, right: Parsed<Expr>) -> Result<(usize, Condition), SqlError> {
        for side in [&left, &right] {
            if side.part == Expr::Literal(Literal::Null) {
                return Err(self.error(side.at, "nothing is equal to NULL; IS NULL asks for it"));
            }
        }
        if let (Expr::Literal(Literal::Bool(_)), Expr::Literal(other)) = (&left.part, &right.part)
            && !matches!(other, Literal::Bool(_))
        {
            return Err(self.error(right.at, "a boolean cannot be compared with this"));
        }
        Ok((left.depth.max(right.depth), Condition::Equal(Box::new([left.part, right.part]))))
    }

    fn comparison(&mut self) -> Result<Parsed<Expr>, SqlError> {
        let mut left = self.unary()?;
        loop {
            let relation = match self.token {
                Token::Symbol(Symbol::Greater) => Relation::Greater,
                Token::Symbol(Symbol::GreaterEqual) => Relation::GreaterEqual,
                Token::Symbol(Symbol::Less) => Relation::Less,
                Token::Symbol(Symbol::LessEqual) => Relation::LessEqual,
                Token::Keyword(keyword) => match self.worded(left, keyword)? {
                    Worded::Comparison(next) => {
                        left = next;
                        continue;
                    }
                    Worded::Other(left) => return Ok(left),
                },
                _ => return Ok(left),
            };
            self.advance()?;
            let right = self.unary()?;
            self.ordered(&left)?;
            self.ordered(&right)?;
            let depth = left.depth.max(right.depth);
            left = self.wrap_condition(
                left.at,
                depth,
                Condition::Order(relation, Box::new([left.part, right.part])),
            )?;
        }
    }

    /// A comparison that begins with a word, maybe after NOT.
    fn worded(&mut self, left: Parsed<Expr>, keyword: Keyword) -> Result<Worded, SqlError> {
        let is_positive = !self.skip(Token::Keyword(Keyword::Not))?;
        let keyword = match self.token {
            Token::Keyword(keyword) if !is_positive => keyword,
            _ if !is_positive => return Err(self.unexpected("BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH")),
            _ => keyword,
        };
        let place = match keyword {
            Keyword::Contains => Place::Anywhere,
            Keyword::StartsWith => Place::Start,
            Keyword::EndsWith => Place::End,
            Keyword::Between => return self.between(left, is_positive).map(Worded::Comparison),
            Keyword::In => return self.choice(left, is_positive).map(Worded::Comparison),
            _ if is_positive => return Ok(Worded::Other(left)),
            _ => return Err(self.unexpected("BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH")),
        };
        self.advance()?;
        let part = self.text()?;
        let affix = Affix { of: left.part, part, place, has: is_positive };
        self.wrap_condition(left.at, left.depth, Condition::Affix(Box::new(affix))).map(Worded::Comparison)
    }

    fn between(&mut self, left: Parsed<Expr>, is_positive: bool) -> Result<Parsed<Expr>, SqlError> {
        self.advance()?;
        let low = self.unary()?;
        self.expect(Token::Keyword(Keyword::And))?;
        let high = self.unary()?;
        for part in [&left, &low, &high] {
            self.ordered(part)?;
        }
        // COMPAT: only plain numbers are looked at, and only without NOT.
        if let (Expr::Literal(least), Expr::Literal(most)) = (&low.part, &high.part)
            && is_positive
            && value::compare(most.value(), least.value()) == Ok(Ordering::Less)
        {
            return Err(self.error(low.at, "nothing lies between a number and a smaller one"));
        }
        let depth = left.depth.max(low.depth).max(high.depth);
        let parts = Box::new([left.part, low.part, high.part]);
        let condition = if is_positive { Condition::Between(parts) } else { Condition::NotBetween(parts) };
        self.wrap_condition(left.at, depth, condition)
    }

    fn choice(&mut self, left: Parsed<Expr>, is_in: bool) -> Result<Parsed<Expr>, SqlError> {
        let Expr::Property(of) = left.part else {
            return Err(self.error(left.at, "IN asks for a property, and this is none"));
        };
        self.advance()?;
        self.expect(Token::Symbol(Symbol::Open))?;
        let mut texts = vec![self.text()?];
        while self.skip(Token::Symbol(Symbol::Comma))? {
            texts.push(self.text()?);
        }
        self.expect(Token::Symbol(Symbol::Close))?;
        texts.sort_unstable();
        texts.dedup();
        self.wrap_condition(left.at, left.depth, Condition::In(Choice { of, texts: texts.into(), is_in }))
    }

    /// Checks that a part may stand beside `<` and its like.
    fn ordered(&self, parsed: &Parsed<Expr>) -> Result<(), SqlError> {
        match &parsed.part {
            Expr::Literal(literal) if !literal.value().is_number() => {
                Err(self.error(parsed.at, "only numbers and properties are larger or smaller, this is none"))
            }
            Expr::Condition(_) => Err(self.error(parsed.at, "a condition is neither larger nor smaller")),
            _ => Ok(()),
        }
    }

    fn unary(&mut self) -> Result<Parsed<Expr>, SqlError> {
        let (at, first) = (self.at, self.token);
        let is_sign =
            matches!(first, Token::Symbol(Symbol::Plus | Symbol::Minus) | Token::Keyword(Keyword::Not));
        if !is_sign {
            return self.primary();
        }
        self.advance()?;
        self.nested += 1;
        if self.nested > MAX_DEPTH {
            return Err(self.error(at, format!("more than {MAX_DEPTH} conditions are nested")));
        }
        let inner = self.unary()?;
        self.nested -= 1;
        match first {
            Token::Symbol(Symbol::Minus) => self.wrap(at, inner.depth, Expr::Negated(Box::new(inner.part))),
            Token::Keyword(_) => {
                let inner = self.boolean(inner)?;
                self.wrap_condition(at, inner.depth, Condition::Not(Box::new(inner.part)))
            }
            _ => Ok(inner),
        }
    }

    fn primary(&mut self) -> Result<Parsed<Expr>, SqlError> {
        let (at, token) = (self.at, self.token);
        let part = match token {
            Token::Symbol(Symbol::Open) => return self.parenthesis(),
            Token::Name(name) => Expr::Property(self.names.slot(name)),
            Token::Keyword(Keyword::True) => Expr::Literal(Literal::Bool(true)),
            Token::Keyword(Keyword::False) => Expr::Literal(Literal::Bool(false)),
            Token::Keyword(Keyword::Null) => Expr::Literal(Literal::Null),
            Token::Text(text) => Expr::Literal(Literal::Text(unquoted(text))),
            Token::Whole(digits) => Expr::Literal(self.whole(digits)?),
            Token::Float(digits) => Expr::Literal(self.float(digits)?),
            _ => return Err(self.unexpected("a property, a number, a text or a condition")),
        };
        self.advance()?;
        self.wrap(at, 0, part)
    }

    fn parenthesis(&mut self) -> Result<Parsed<Expr>, SqlError> {
        let at = self.at;
        self.advance()?;
        self.nested += 1;
        if self.nested > MAX_DEPTH {
            return Err(self.error(at, format!("more than {MAX_DEPTH} conditions are nested")));
        }
        let inner = self.or()?;
        self.expect(Token::Symbol(Symbol::Close))?;
        self.nested -= 1;
        Ok(inner)
    }

    fn text(&mut self) -> Result<Box<str>, SqlError> {
        match self.token {
            Token::Text(text) => {
                self.advance()?;
                Ok(unquoted(text))
            }
            _ => Err(self.unexpected("a text")),
        }
    }

    /// The smallest kind that the number fits into. COMPAT: the smallest `long` cannot be written, its sign is not here.
    fn whole(&self, digits: &str) -> Result<Literal, SqlError> {
        let digits = digits.trim_end_matches(['l', 'L']);
        let value = number::long(digits).ok_or_else(|| self.error(self.at, "this number is too large"))?;
        Ok(i32::try_from(value).map_or(Literal::Long(value), Literal::Int))
    }

    /// COMPAT: zero cannot be written as a float.
    fn float(&self, digits: &str) -> Result<Literal, SqlError> {
        match number::double(digits) {
            Some(value) if value.is_finite() && value > 0.0 => Ok(Literal::Double(value)),
            Some(0.0) => Err(self.error(self.at, "a number with a point is more than zero; 0 is zero")),
            _ => Err(self.error(self.at, "this number is too large")),
        }
    }
}

enum Worded {
    Comparison(Parsed<Expr>),
    /// The word belongs to a level above.
    Other(Parsed<Expr>),
}

fn unquoted(text: &str) -> Box<str> {
    text.replace("''", "'").into()
}
