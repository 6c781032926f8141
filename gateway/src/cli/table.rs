//! Aligned columns, without lines and without trailing blanks.

/// Columns of text; the first row is the header, if there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl Table {
    /// With a header.
    pub(super) fn new(header: &[&str]) -> Self {
        let mut table = Self::default();
        table.row(header.iter().copied());
        table
    }

    /// Columns of figures, which stand at the right.
    pub(super) fn right(mut self, columns: &[usize]) -> Self {
        self.right = columns.to_vec();
        self
    }

    /// One more row. Control characters, which may come from outside, are made visible.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let visible = |cell: String| -> String {
            let one = |c: char| if c.is_control() { '\u{fffd}' } else { c };
            cell.chars().map(one).collect()
        };
        self.rows
            .push(cells.into_iter().map(|cell| visible(cell.into())).collect());
    }

    /// The text, each row with its line feed.
    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column > 0 {
                    line.push_str("  ");
                }
                let blanks = " ".repeat(width - cell.chars().count());
                if self.right.contains(&column) {
                    line.push_str(&blanks);
                    line.push_str(cell);
                } else {
                    line.push_str(cell);
                    line.push_str(&blanks);
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns() {
        let mut table = Table::new(&["NAME", "BYTES", "WHY"]).right(&[1]);
        table.row(["é", "1", ""]);
        table.row(["longer", "12345678", "a\u{1b}b"]);
        assert_eq!(
            table.render(),
            "NAME       BYTES  WHY\né              1\nlonger  12345678  a\u{fffd}b\n"
        );
    }
}
