// SPDX-License-Identifier: Apache-2.0
//! What Apache says of thousands of expressions is checked in `tests/golden.rs`; here is what it cannot say: the limits,
//! the errors, and any expression at all against a reference that shares no line with the compiled one.

use std::collections::HashMap;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn properties(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect()
}

fn check_errors(texts: &[&str], expect: Expect) {
    let line = |text: &&str| match Sql::parse(text) {
        Ok(_) => format!("{text}: fine"),
        Err(error) => format!("{text}: {error}"),
    };
    expect.assert_eq(&texts.iter().map(line).collect::<Vec<_>>().join("\n"));
}

#[test]
fn errors_name_the_place() {
    check_errors(
        &[
            "",
            "a >",
            "a = 1 b",
            "a = 007",
            "a LIKE 'x'",
            "é = 'x'",
            "'é' = é",
            "a IN (1)",
            "5 IN ('x')",
            "a NOT 5",
            "a > 'x'",
            "(a = 1) > 2",
            "a BETWEEN 5 AND 1",
            "a = NULL",
            "TRUE = 1",
            "5",
            "a = 'x",
            "a = 9223372036854775808",
            "a = 0.0",
            "a = 1e999",
            "a = .",
            "a /* b",
            "((a = 1)",
            "a IS 5",
        ],
        expect![[r#"
            : at character 1: a property, a number, a text or a condition should stand here instead of the end
            a >: at character 4: a property, a number, a text or a condition should stand here instead of the end
            a = 1 b: at character 7: the end should stand here instead of b
            a = 007: at character 6: the end should stand here instead of 0
            a LIKE 'x': at character 3: the end should stand here instead of LIKE
            é = 'x': at character 1: 'é' means nothing here
            'é' = é: at character 7: 'é' means nothing here
            a IN (1): at character 7: a text should stand here instead of 1
            5 IN ('x'): at character 1: IN asks for a property, and this is none
            a NOT 5: at character 7: BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH should stand here instead of 5
            a > 'x': at character 5: only numbers and properties are larger or smaller, this is none
            (a = 1) > 2: at character 2: a condition is neither larger nor smaller
            a BETWEEN 5 AND 1: at character 11: nothing lies between a number and a smaller one
            a = NULL: at character 5: nothing is equal to NULL; IS NULL asks for it
            TRUE = 1: at character 8: a boolean cannot be compared with this
            5: at character 1: a condition should stand here instead of a value
            a = 'x: at character 5: the text that begins here has no end
            a = 9223372036854775808: at character 5: this number is too large
            a = 0.0: at character 5: a number with a point is more than zero; 0 is zero
            a = 1e999: at character 5: this number is too large
            a = .: at character 5: a point without digits
            a /* b: at character 3: '/' means nothing here
            ((a = 1): at character 9: ')' should stand here instead of the end
            a IS 5: at character 6: NULL should stand here instead of 5"#]],
    );
}

#[test]
fn depth_and_size_are_capped() {
    let nested =
        |open: &str, close: &str, count| format!("{}a = 1{}", open.repeat(count), close.repeat(count));
    for (open, close) in [("(", ")"), ("NOT (", ")"), ("- ", ""), ("+", ""), ("NOT ", "")] {
        let _ = Sql::parse(&nested(open, close, 40));
        for count in [MAX_DEPTH + 1, 10_000] {
            assert!(Sql::parse(&nested(open, close, count)).is_err(), "{open} {count}");
        }
    }
    assert!(Sql::parse(&nested("(", ")", MAX_DEPTH)).is_ok());
    for link in [" IS NULL", " = TRUE", " <> TRUE", " CONTAINS 'x'"] {
        assert!(Sql::parse(&format!("a{}", link.repeat(40))).is_ok(), "{link}");
        assert!(Sql::parse(&format!("a{}", link.repeat(6000))).is_err(), "{link}");
    }
    assert!(Sql::parse(&vec!["a = 1"; 5000].join(" OR ")).is_ok(), "what stands side by side is not deep");
    assert!(Sql::parse(&format!("a = '{}'", "x".repeat(MAX_TEXT))).is_err());
}

#[test]
fn more_properties_than_have_room_on_the_stack() {
    let text = (0..SLOTS + 5).map(|n| format!("p{n} = '{n}'")).collect::<Vec<_>>().join(" AND ");
    let sql = Sql::parse(&text).unwrap();
    let all: String = (0..SLOTS + 5).map(|n| format!("p{n}\u{1}{n}\u{2}")).collect();
    assert_eq!(sql.judge(&all), Verdict::True);
    assert_eq!(sql.judge(all.replacen("\u{1}3\u{2}", "\u{1}4\u{2}", 1).as_str()), Verdict::False);
    assert_eq!(sql.judge(""), Verdict::Unknown);
}

#[test]
fn the_same_condition_is_equal_however_it_is_written() {
    let one = Sql::parse("a BETWEEN 1 AND 10 and b in ('y', 'x') -- those").unwrap();
    assert_eq!(one, Sql::parse("(a between 1 and 10)\nAND b IN ('x','y','x')").unwrap());
    assert_ne!(one, Sql::parse("a BETWEEN 1 AND 10 and b in ('y', 'z')").unwrap());
    assert_ne!(one, Sql::parse("A BETWEEN 1 AND 10 and b in ('y', 'x')").unwrap());
}

// ---- any expression against a reference

/// An expression as a tree, for the reference.
#[derive(Clone, Debug)]
enum Tree {
    Property(&'static str),
    Text(String),
    Number(i64),
    Float(u16),
    Equal(Box<Tree>, Box<Tree>, bool),
    Order(Box<Tree>, Box<Tree>, &'static str),
    Between(Box<Tree>, i64, i64, bool),
    In(&'static str, Vec<String>, bool),
    IsNull(Box<Tree>, bool),
    Part(Box<Tree>, &'static str, String, bool),
    Not(Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
}

#[derive(Clone, Debug, PartialEq)]
enum Thing {
    Bool(bool),
    Text(String),
    /// Whole numbers, and whether they are of the larger kind.
    Number(i64, bool),
    Float(f64),
}

type Reference = Result<Option<Thing>, ()>;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[xy'1]{0,2}",
        (-20..20i64).prop_map(|n| n.to_string()),
        Just("1.5".to_owned()),
        Just("true".to_owned())
    ]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![0..20i64, Just(i64::from(i32::MAX)), Just(1 << 40)]
}

fn property() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("c")]
}

fn operand() -> impl Strategy<Value = Tree> {
    prop_oneof![
        4 => property().prop_map(Tree::Property),
        1 => text().prop_map(Tree::Text),
        2 => number().prop_map(Tree::Number),
        1 => (1..100u16).prop_map(Tree::Float),
    ]
}

fn ordered() -> impl Strategy<Value = Tree> {
    prop_oneof![
        property().prop_map(Tree::Property),
        number().prop_map(Tree::Number),
        (1..100u16).prop_map(Tree::Float)
    ]
}

fn condition() -> impl Strategy<Value = Tree> {
    let flag = any::<bool>;
    let relation = prop_oneof![Just("<"), Just("<="), Just(">"), Just(">=")];
    let place = prop_oneof![Just("CONTAINS"), Just("STARTSWITH"), Just("ENDSWITH")];
    let leaf = prop_oneof![
        (operand(), operand(), flag()).prop_map(|(l, r, is)| Tree::Equal(l.into(), r.into(), is)),
        (ordered(), ordered(), relation).prop_map(|(l, r, how)| Tree::Order(l.into(), r.into(), how)),
        (ordered(), number(), number(), flag()).prop_map(|(of, l, r, is)| Tree::Between(
            of.into(),
            l.min(r),
            l.max(r),
            is
        )),
        (property(), proptest::collection::vec(text(), 1..4), flag())
            .prop_map(|(of, all, is)| Tree::In(of, all, is)),
        (operand(), flag()).prop_map(|(of, is)| Tree::IsNull(of.into(), is)),
        (operand(), place, text(), flag()).prop_map(|(of, place, part, is)| Tree::Part(
            of.into(),
            place,
            part,
            is
        )),
    ];
    leaf.prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|of| Tree::Not(of.into())),
            (inner.clone(), inner.clone()).prop_map(|(l, r)| Tree::And(l.into(), r.into())),
            (inner.clone(), inner).prop_map(|(l, r)| Tree::Or(l.into(), r.into())),
        ]
    })
}

fn not(is: bool) -> &'static str {
    if is { "" } else { "NOT " }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Tree {
    fn write(&self) -> String {
        match self {
            Tree::Property(name) => (*name).to_owned(),
            Tree::Text(text) => quoted(text),
            Tree::Number(number) => number.to_string(),
            Tree::Float(tenths) => format!("{}.{}", tenths / 10, tenths % 10),
            Tree::Equal(l, r, is) => format!("{} {} {}", l.write(), if *is { "=" } else { "<>" }, r.write()),
            Tree::Order(l, r, how) => format!("{} {how} {}", l.write(), r.write()),
            Tree::Between(of, l, r, is) => format!("{} {}BETWEEN {l} AND {r}", of.write(), not(*is)),
            Tree::In(of, all, is) => {
                let all: Vec<_> = all.iter().map(|text| quoted(text)).collect();
                format!("{of} {}IN ({})", not(*is), all.join(","))
            }
            Tree::IsNull(of, is) => format!("{} IS {}NULL", of.write(), not(*is)),
            Tree::Part(of, place, part, is) => format!("{} {}{place} {}", of.write(), not(*is), quoted(part)),
            Tree::Not(of) => format!("NOT ({})", of.write()),
            Tree::And(l, r) => format!("({}) AND ({})", l.write(), r.write()),
            Tree::Or(l, r) => format!("({}) OR ({})", l.write(), r.write()),
        }
    }

    fn value(&self, message: &HashMap<&str, String>) -> Reference {
        let is = |value: bool| Ok(Some(Thing::Bool(value)));
        let flip = |value: Reference, keep: bool| match value? {
            Some(Thing::Bool(value)) => Ok(Some(Thing::Bool(value == keep))),
            other => Ok(other),
        };
        match self {
            Tree::Property(name) => Ok(message.get(name).cloned().map(Thing::Text)),
            Tree::Text(text) => Ok(Some(Thing::Text(text.clone()))),
            Tree::Number(number) => Ok(Some(Thing::Number(*number, *number > i64::from(i32::MAX)))),
            Tree::Float(tenths) => Ok(Some(Thing::Float(f64::from(*tenths) / 10.0))),
            Tree::Equal(l, r, keep) => flip(
                match (l.value(message)?, r.value(message)?) {
                    (None, None) => is(true),
                    (None, Some(_)) => Ok(None),
                    (Some(_), None) => is(false),
                    (Some(Thing::Text(l)), Some(Thing::Text(r))) => is(l == r),
                    (Some(l), Some(r)) => is(ordering(l, r)? == 0),
                },
                *keep,
            ),
            Tree::Order(l, r, how) => match (l.value(message)?, r.value(message)?) {
                (Some(l), Some(r)) => {
                    let order = ordering(l, r)?;
                    is(match *how {
                        "<" => order < 0,
                        "<=" => order <= 0,
                        ">" => order > 0,
                        _ => order >= 0,
                    })
                }
                _ => Ok(None),
            },
            Tree::Between(of, l, r, keep) => {
                let bound = |how, bound| Tree::Order(of.clone(), Box::new(Tree::Number(bound)), how);
                if *keep {
                    Tree::And(bound(">=", *l).into(), bound("<=", *r).into()).value(message)
                } else {
                    Tree::Or(bound("<", *l).into(), bound(">", *r).into()).value(message)
                }
            }
            Tree::In(of, all, keep) => {
                Ok(message.get(of).map(|text| Thing::Bool(all.contains(text) == *keep)))
            }
            Tree::IsNull(of, keep) => is(of.value(message)?.is_none() == *keep),
            Tree::Part(of, place, part, keep) => match of.value(message)? {
                Some(Thing::Text(text)) if !part.is_empty() => {
                    let found = match *place {
                        "CONTAINS" => text.match_indices(part.as_str()).count() > 0,
                        "STARTSWITH" => text.match_indices(part.as_str()).any(|(at, _)| at == 0),
                        _ => text.bytes().rev().take(part.len()).eq(part.bytes().rev()),
                    };
                    is(found == *keep)
                }
                _ => is(false),
            },
            Tree::Not(of) => flip(of.value(message), false),
            Tree::And(l, r) => match l.value(message)? {
                Some(Thing::Bool(false)) => is(false),
                l => match (l, r.value(message)?) {
                    (_, Some(Thing::Bool(false))) => is(false),
                    (Some(_), Some(_)) => is(true),
                    _ => Ok(None),
                },
            },
            Tree::Or(l, r) => match l.value(message)? {
                Some(Thing::Bool(true)) => is(true),
                l => match (l, r.value(message)?) {
                    (_, Some(Thing::Bool(true))) => is(true),
                    (Some(_), Some(_)) => is(false),
                    _ => Ok(None),
                },
            },
        }
    }
}

/// Compares as Java does: a text takes the kind of what it meets.
fn ordering(left: Thing, right: Thing) -> Result<i32, ()> {
    let sign = |order: Option<std::cmp::Ordering>| order.map(|order| order as i32).ok_or(());
    match (left, right) {
        (Thing::Text(l), Thing::Text(r)) => {
            let read = |text: String| text.trim().parse::<f64>().map_err(drop);
            sign(read(l)?.partial_cmp(&read(r)?))
        }
        (Thing::Text(text), other) => ordering(other, Thing::Text(text)).map(|order| -order),
        (Thing::Number(number, is_long), Thing::Text(text)) => {
            let text = text.parse::<i64>().map_err(drop)?;
            if !is_long && i32::try_from(text).is_err() {
                return Err(());
            }
            sign(number.partial_cmp(&text))
        }
        (Thing::Float(number), Thing::Text(text)) => {
            sign(number.partial_cmp(&text.trim().parse::<f64>().map_err(drop)?))
        }
        (Thing::Number(l, _), Thing::Number(r, _)) => sign(l.partial_cmp(&r)),
        (Thing::Number(l, _), Thing::Float(r)) => sign((l as f64).partial_cmp(&r)),
        (Thing::Float(l), Thing::Number(r, _)) => sign(l.partial_cmp(&(r as f64))),
        (Thing::Float(l), Thing::Float(r)) => sign(l.partial_cmp(&r)),
        (Thing::Bool(_), _) | (_, Thing::Bool(_)) => unreachable!("no boolean is an operand here"),
    }
}

proptest! {
    #[test]
    fn equals_the_reference(tree in condition(), a in proptest::option::of(text()), b in proptest::option::of(text()), c in proptest::option::of(text())) {
        let message: HashMap<&str, String> =
            [("a", a), ("b", b), ("c", c)].into_iter().filter_map(|(name, value)| Some((name, value.filter(|v| !v.is_empty())?))).collect();
        let pairs: Vec<_> = message.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let expected = match tree.value(&message) {
            Err(()) => Verdict::Failed,
            Ok(None) => Verdict::Unknown,
            Ok(Some(Thing::Bool(true))) => Verdict::True,
            Ok(Some(_)) => Verdict::False,
        };
        let text = tree.write();
        let sql = Sql::parse(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        prop_assert_eq!(sql.judge(&properties(&pairs)), expected, "{} of {:?}", text, pairs);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "([ab'()=<>,.0-9eL -]|NOT |AND |OR |BETWEEN |IN |IS |NULL|TRUE|CONTAINS |é|/\\*|\\*/|--|\n){0,40}", properties in ".{0,40}") {
        match Sql::parse(&text) {
            Ok(sql) => drop(sql.judge(&properties)),
            Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.at), "{}", error),
        }
    }
}
