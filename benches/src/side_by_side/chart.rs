//! The chart of the bench's own table.

use std::fmt::{self, Display, Formatter};

use vrrp_lab::svg::{self, Anchor, Picture};

const LEFT: f64 = 130.0;
const WIDTH: f64 = 620.0;
const TOP: f64 = 64.0;
/// The height of a case: a bar for each program, and a gap.
const ROW: f64 = 40.0;
const BAR: f64 = 14.0;

const STYLE: &str = ".driver { fill: #2563c9 }
.keepalived { fill: #b4bcc8 }";

/// The CPU time of both programs in one case.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    case: String,
    /// Microseconds of the Active for each advertisement: of the driver, and of keepalived.
    cpu: [f64; 2],
}

/// A table without a case of two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRows;

impl Display for NoRows {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("the table has no case of 100 routers or more under both programs")
    }
}

impl std::error::Error for NoRows {}

/// Draws the CPU time of the Active from the table that the bench prints, as an SVG document. Cases
/// with a single router are left out: their times would make all other bars short.
///
/// # Errors
///
/// [`NoRows`] for any other text.
pub fn draw(table: &str) -> Result<String, NoRows> {
    let rows = rows(table);
    let longest = rows.iter().flat_map(|row| row.cpu).fold(0.0, f64::max);
    if longest <= 0.0 {
        return Err(NoRows);
    }
    let mut picture = Picture::new(2.0);
    let bottom = TOP + ROW * f64::from(u32::try_from(rows.len()).unwrap_or(u32::MAX));
    let (width, height) = (LEFT + WIDTH + 70.0, bottom + 24.0);
    picture.bar("ground", (0.0, 0.0), (width, height), None);
    let title = "CPU time of the Active for each advertisement, in microseconds";
    picture.text("title", (LEFT, 24.0), Anchor::Start, title);
    let mut at = LEFT;
    for program in ["driver", "keepalived"] {
        picture.bar(program, (at, 36.0), (22.0, 10.0), None);
        picture.text("note", (at + 28.0, 45.0), Anchor::Start, program);
        at += 96.0;
    }
    let mut y = TOP;
    for Row { case, cpu } in &rows {
        picture.text("name", (LEFT - 10.0, y + 18.0), Anchor::End, case);
        for (program, time) in ["driver", "keepalived"].into_iter().zip(cpu) {
            let length = WIDTH * time / longest;
            picture.bar(program, (LEFT, y), (length, BAR), None);
            let value = format!("{time:.2}");
            let place = (LEFT + length + 6.0, y + 11.0);
            picture.text("note", place, Anchor::Start, &value);
            y += BAR + 1.0;
        }
        y += ROW - 2.0 * (BAR + 1.0);
    }
    picture.line("axis", (LEFT, TOP - 4.0), (LEFT, bottom));
    Ok(picture.finish(width, height, &[svg::STYLE, STYLE]))
}

/// The cases of 100 routers or more, in the order of the table.
fn rows(table: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut driver = None;
    for line in table.lines() {
        // Columns are three blanks apart at least, and no cell has two in a row.
        let cells: Vec<&str> = line.split("  ").map(str::trim).collect();
        let cells: Vec<&str> = cells.into_iter().filter(|cell| !cell.is_empty()).collect();
        let [case, program, _, _, _, cpu, ..] = cells[..] else {
            continue;
        };
        let Ok(cpu) = cpu.parse::<f64>() else {
            continue;
        };
        if case.starts_with("1 x ") {
            continue;
        }
        match (program, driver.take()) {
            ("driver", _) => driver = Some(cpu),
            ("keepalived", Some(ours)) => rows.push(Row {
                case: case.into(),
                cpu: [ours, cpu],
            }),
            _ => {}
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_programs_are_read_and_others_are_left_out() {
        let table = "\
routers x interval          program   sent of owed     late   false takeovers   us/advert: Active
1 x 10 ms                    driver        100.0 %   0.00 %                 0              118.23
1 x 10 ms                keepalived         99.2 %   0.00 %                 0               81.07
                              ratio                                                         1.458
100 x 10 ms                  driver        100.0 %   0.00 %                 0                5.75
100 x 10 ms              keepalived         99.5 %   0.00 %                 0               23.86
                              ratio                                                         0.241
100 x 10 ms   bare loop, raw socket                                         0                4.87
";
        let expected = Row {
            case: "100 x 10 ms".into(),
            cpu: [5.75, 23.86],
        };
        assert_eq!(rows(table), [expected]);
        assert_eq!(draw(""), Err(NoRows));
    }
}
