//! Plain tables for people.

/// Rows of cells, each column as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table with these headings; one that begins with `>` stands on the right.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let right = headings.iter().map(|text| text.starts_with('>')).collect();
        let first = headings.iter().map(|text| text.trim_start_matches('>').to_owned()).collect();
        Self { rows: vec![first], right }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table's lines, joined.
    pub(crate) fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).zip(&self.right).map(|((cell, &width), &right)| {
                if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["tensor", ">bytes", "type"]);
        table.row(vec!["output".into(), "7".into(), "Q6_K".into()]);
        table.row(vec!["a".into(), "1024".into(), "F32".into()]);
        assert_eq!(table.text(), "tensor  bytes  type\noutput      7  Q6_K\na        1024  F32");
    }
}
