// SPDX-License-Identifier: Apache-2.0
//! What commands print: one set of rows as a table for people, or as JSON, YAML or CSV for scripts.
//! Commands build a [`Rows`]; nothing else in the program decides on a format.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::{Map, Value};

/// How `-o` asks for the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// One JSON array of objects.
    Json,
    /// A YAML list of maps.
    Yaml,
    /// Comma-separated values with a header line.
    Csv,
}

/// An answer: named columns and rows of values.
#[derive(Debug)]
pub(crate) struct Rows {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
    /// One thing: people see it field by field, scripts get an object and no list.
    is_one: bool,
}

impl Rows {
    /// Starts an answer with these columns.
    pub(crate) fn new(columns: &[&'static str]) -> Rows {
        Rows { columns: columns.to_vec(), rows: Vec::new(), is_one: false }
    }

    /// An answer that is one thing with these fields.
    pub(crate) fn one(fields: Vec<(&'static str, Value)>) -> Rows {
        let (columns, row) = fields.into_iter().unzip();
        Rows { columns, rows: vec![row], is_one: true }
    }

    /// Says whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a row; it has one value a column.
    pub(crate) fn push(&mut self, row: Vec<Value>) {
        assert_eq!(row.len(), self.columns.len(), "a row has a value for each column");
        self.rows.push(row);
    }

    /// Writes the answer in the wanted form.
    pub(crate) fn write(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Table => self.write_table(out),
            Format::Json => self.write_json(out),
            Format::Yaml => self.write_yaml(out),
            Format::Csv => self.write_csv(out),
        }
    }

    fn write_table(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        if self.is_one {
            table.set_header(["FIELD", "VALUE"]);
            let fields = self.columns.iter().zip(self.rows.iter().flatten());
            fields.for_each(|(name, value)| _ = table.add_row([(*name).to_owned(), plain(value)]));
        } else {
            table.set_header(self.columns.iter().map(|c| c.to_uppercase()));
            self.rows.iter().for_each(|row| _ = table.add_row(row.iter().map(plain)));
        }
        for line in table.lines() {
            writeln!(out, "{}", line.strip_prefix(' ').unwrap_or(&line).trim_end())?;
        }
        Ok(())
    }

    fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let objects: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let pairs =
                    self.columns.iter().zip(row).map(|(name, value)| ((*name).to_owned(), value.clone()));
                Value::Object(pairs.collect::<Map<_, _>>())
            })
            .collect();
        match objects.first() {
            Some(one) if self.is_one => serde_json::to_writer_pretty(&mut *out, one)?,
            _ => serde_json::to_writer_pretty(&mut *out, &objects)?,
        }
        writeln!(out)
    }

    fn write_yaml(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.rows.is_empty() {
            return writeln!(out, "[]");
        }
        for row in &self.rows {
            for (index, (name, value)) in self.columns.iter().zip(row).enumerate() {
                // A JSON scalar, array or object is also YAML.
                let lead = match index {
                    _ if self.is_one => "",
                    0 => "- ",
                    _ => "  ",
                };
                writeln!(out, "{lead}{name}: {value}")?;
            }
        }
        Ok(())
    }

    fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.columns.join(","))?;
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|value| csv_cell(&plain(value))).collect();
            writeln!(out, "{}", cells.join(","))?;
        }
        Ok(())
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(format: Format, expected: Expect) {
        let mut rows = Rows::new(&["topic", "queues"]);
        rows.push(vec![json!("a,b"), json!(4)]);
        rows.push(vec![json!("say \"hi\""), Value::Null]);
        let mut out = Vec::new();
        rows.write(format, &mut out).expect("a vector takes all");
        expected.assert_eq(&String::from_utf8(out).expect("text"));
    }

    #[test]
    fn one_thing_is_an_object() {
        let rows = Rows::one(vec![("id", json!(7)), ("keys", Value::Null), ("state", json!("open"))]);
        let form = |format| {
            let mut out = Vec::new();
            rows.write(format, &mut out).expect("a vector takes all");
            String::from_utf8(out).expect("text")
        };
        let all = [Format::Json, Format::Yaml, Format::Csv, Format::Table].map(form);
        expect![[r#"
            {
              "id": 7,
              "keys": null,
              "state": "open"
            }

            id: 7
            keys: null
            state: "open"

            id,keys,state
            7,,open

            FIELD  VALUE
            id     7
            keys
            state  open
        "#]]
        .assert_eq(&all.join("\n"));
    }

    #[test]
    fn every_form_holds_the_same_rows() {
        check(
            Format::Csv,
            expect![[r#"
                topic,queues
                "a,b",4
                "say ""hi""",
            "#]],
        );
        check(
            Format::Yaml,
            expect![[r#"
                - topic: "a,b"
                  queues: 4
                - topic: "say \"hi\""
                  queues: null
            "#]],
        );
        check(
            Format::Json,
            expect![[r#"
                [
                  {
                    "topic": "a,b",
                    "queues": 4
                  },
                  {
                    "topic": "say \"hi\"",
                    "queues": null
                  }
                ]
            "#]],
        );
        check(
            Format::Table,
            expect![[r#"
                 TOPIC     QUEUES
                 a,b       4
                 say "hi"
            "#]],
        );
    }
}
