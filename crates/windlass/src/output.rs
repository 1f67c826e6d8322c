//! What commands write: aligned tables for people, JSON for programs.

use crate::exit::Failure;
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// Where output goes, and in which form.
pub(crate) struct Out {
    json: bool,
    terminal: bool,
    writer: Box<dyn Write>,
}

impl Out {
    pub(crate) fn stdout(json: bool) -> Self {
        let stdout = std::io::stdout();
        Self {
            json,
            terminal: stdout.is_terminal(),
            writer: Box::new(stdout),
        }
    }

    /// Whether JSON is wanted.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person is watching, and progress bars can be drawn.
    pub(crate) const fn draws(&self) -> bool {
        self.terminal && !self.json
    }

    /// One line.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        writeln!(self.writer, "{}", text.as_ref())?;
        Ok(self.writer.flush()?)
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes)?;
        Ok(self.writer.flush()?)
    }

    /// A value as JSON, for one that ends the command.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::failed(error.to_string()))?;
        self.line(text)
    }

    /// A value as JSON in one line, for output that goes on.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text =
            serde_json::to_string(value).map_err(|error| Failure::failed(error.to_string()))?;
        self.line(text)
    }

    /// A table, or what to say instead of an empty one.
    pub(crate) fn table(&mut self, table: &Table, empty: &str) -> Result<(), Failure> {
        if table.rows.is_empty() {
            return self.line(empty);
        }
        let text = table.text();
        self.raw(text.as_bytes())
    }
}

/// Rows under headings, columns as wide as their widest cell.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    heads: Vec<&'static str>,
}

impl Table {
    pub(crate) fn new(heads: &[&'static str]) -> Self {
        Self {
            rows: Vec::new(),
            heads: heads.to_vec(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn text(&self) -> String {
        let heads: Vec<String> = self.heads.iter().map(|head| head.to_uppercase()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&heads).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..heads.len())
            .map(|column| {
                lines
                    .iter()
                    .filter_map(|line| line.get(column))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for line in lines {
            let mut row = String::new();
            for (cell, width) in line.iter().zip(&widths) {
                row.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(row.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
        let mut table = Table::new(&["id", "status", "image"]);
        table.row(["1", "completed", "r/app:v1"].map(str::to_owned));
        table.row(["22", "über", ""].map(str::to_owned));
        assert_eq!(
            table.text(),
            "ID  STATUS     IMAGE\n1   completed  r/app:v1\n22  über\n"
        );
    }
}
