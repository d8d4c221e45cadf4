//! The page for people. It needs no JavaScript.

use std::fmt::{self, Display, Formatter, Write};

use super::{ServerLine, ServiceLine, Status};

/// How often a browser reads the page again, in seconds.
const REFRESH: u32 = 5;
const STYLE: &str = "body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:70em;\
padding:0 1em;color:#222;background:#fff}h1{font-size:1.4em}h2{font-size:1.1em;margin:1.5em 0 .3em}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25em .6em;\
border-bottom:1px solid #ddd;vertical-align:top}td.n{text-align:right}\
.up{color:#0a6b2d}.down{color:#b00020;font-weight:600}.wait{color:#8a5a00}\
small{color:#555}pre{margin:.3em 0;white-space:pre-wrap}svg{vertical-align:middle}";

impl Status {
    /// The page, as a whole HTML document.
    #[must_use]
    pub fn html(&self) -> String {
        let mut page = String::new();
        // A String takes everything.
        let _ = self.write(&mut page);
        page
    }

    fn write(&self, page: &mut String) -> fmt::Result {
        let host = Text(&self.host);
        write!(
            page,
            "<!doctype html><html lang=en><meta charset=utf-8>\
             <meta name=viewport content='width=device-width'>\
             <meta http-equiv=refresh content={REFRESH}><title>{host}: load balancer</title>\
             <style>{STYLE}</style><h1>Load balancer {host}</h1>\
             <p>Running for {}. {} probes under way; {} succeeded, {} failed, {} not made.</p>",
            Span(self.uptime),
            self.probes_running,
            self.probes.successes,
            self.probes.failures,
            self.probes.local_failures,
        )?;
        for router in &self.routers {
            let class = match router.state.as_str() {
                "Active" => "up",
                "Initialize" => "down",
                _ => "wait",
            };
            write!(
                page,
                "<h2>Virtual router {} on {}</h2><p><span class={class}>{}</span>, priority {}, \
                 addresses {}<br><small>{}</small></p>",
                router.vrid,
                Text(&router.interface),
                Text(&router.state),
                router.priority,
                Text(&router.addresses.join(", ")),
                Text(&router.explanation),
            )?;
        }
        for service in &self.services {
            write_service(page, service)?;
        }
        if !self.refused.is_empty() {
            write!(page, "<h2 class=down>Refused by the kernel</h2><ul>")?;
            for refused in &self.refused {
                write!(page, "<li>{}", Text(refused))?;
            }
            write!(page, "</ul>")?;
        }
        write!(page, "<h2>Last events</h2><ul>")?;
        for event in &self.events {
            write!(
                page,
                "<li><small>{}</small> {}",
                Clock(event.time),
                Text(&event.text)
            )?;
        }
        write!(page, "</ul></html>")
    }
}

fn write_service(page: &mut String, service: &ServiceLine) -> fmt::Result {
    let class = match service.quorum {
        "up" => "up",
        "down" => "down",
        _ => "wait",
    };
    write!(
        page,
        "<h2>{}</h2><p>Quorum <span class={class}>{}</span>, live capacity {}, {:.1} connections/s, \
         {:.0} packets/s {}",
        Text(&service.service),
        service.quorum,
        service.live,
        service.rates.connections,
        service.rates.packets,
        Sparkline(&service.sparkline),
    )?;
    for (is_so, text) in [
        (service.sorry, "the sorry server is in use"),
        (service.braked > 0, "the brake holds servers that are down"),
        (
            service.panicking > 0,
            "servers that are down are used, because too few are left",
        ),
    ] {
        if is_so {
            write!(page, "<br><span class=down>{text}</span>")?;
        }
    }
    write!(
        page,
        "</p><table><tr><th>Server<th>State<th>Weight<th>Connections<th>New/s<th>Last answers</tr>"
    )?;
    for server in &service.servers {
        write_server(page, server)?;
    }
    write!(page, "</table>")
}

fn write_server(page: &mut String, server: &ServerLine) -> fmt::Result {
    let class = if server.is_down() {
        "down"
    } else if server.in_use {
        "up"
    } else {
        "wait"
    };
    let weight = server
        .weight
        .map_or_else(|| "–".to_owned(), |weight| weight.to_string());
    write!(
        page,
        "<tr><td>{}<td><span class={class}>{}</span> <small>for {}</small><br><small>{}</small>\
         <td class=n>{weight}<td class=n>{}<td class=n>{:.1}<td>{}\
         <details><summary>Why</summary><pre>{}</pre></details></tr>",
        Text(&server.server),
        Text(&server.health),
        Span(server.since),
        Text(&server.usage),
        server.connections,
        server.rates.connections,
        Text(&server.answers.join("; ")),
        Text(&server.explanation),
    )
}

/// A text in which nothing is markup.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|it| match it {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            it => f.write_char(it),
        })
    }
}

/// A time span in its greatest unit, and the next one.
struct Span(f64);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let whole = std::time::Duration::try_from_secs_f64(self.0).unwrap_or_default();
        let seconds = whole.as_secs();
        let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
        let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{rest} s"),
            (0, 0, _) => write!(f, "{minutes} min {rest} s"),
            (0, ..) => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}

/// A time of day, in UTC.
struct Clock(f64);

impl Display for Clock {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let time = std::time::Duration::try_from_secs_f64(self.0).unwrap_or_default();
        let time = std::time::SystemTime::UNIX_EPOCH + time;
        write!(f, "{}", humantime::format_rfc3339_seconds(time))
    }
}

/// Numbers as a line.
struct Sparkline<'a>(&'a [f64]);

impl Display for Sparkline<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const HEIGHT: f64 = 20.0;
        const STEP: u32 = 3;
        let highest = self.0.iter().copied().fold(1.0, f64::max);
        write!(
            f,
            "<svg role=img aria-label='new connections in the last minute' width=180 height=22>\
             <polyline fill=none stroke=#0a6b2d points='"
        )?;
        let mut x = 0_u32;
        for value in self.0 {
            write!(f, "{x},{:.1} ", 1.0 + HEIGHT * (1.0 - value / highest))?;
            x += STEP;
        }
        write!(f, "'/></svg>")
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Line, ProbeCounts, Rates, RouterLine},
        *,
    };

    fn status() -> Status {
        Status {
            host: "lb1".into(),
            uptime: 4000.0,
            routers: vec![RouterLine {
                interface: "eth0".into(),
                vrid: 51,
                state: "Active".into(),
                priority: 150,
                addresses: vec!["192.0.2.1/24".into()],
                explanation: "priority 150".into(),
            }],
            services: vec![ServiceLine {
                service: "tcp 192.0.2.1:80".into(),
                quorum: "up",
                live: 2,
                sorry: false,
                braked: 1,
                panicking: 0,
                rates: Rates::default(),
                sparkline: vec![0.0, 4.0, 2.0],
                servers: vec![ServerLine {
                    server: "10.0.0.1:80".into(),
                    health: "down".into(),
                    in_use: true,
                    usage: "in, although down: the brake holds it".into(),
                    since: 61.0,
                    weight: Some(1),
                    operator: "ready".into(),
                    connections: 3,
                    rates: Rates::default(),
                    answers: vec!["check 1: wrong answer (<script>alert('x')</script>)".into()],
                    explanation: "why \"not\" & so".into(),
                }],
            }],
            probes_running: 1,
            probes: ProbeCounts {
                successes: 10,
                failures: 2,
                local_failures: 0,
            },
            refused: vec!["add service: <no>".into()],
            events: vec![Line {
                time: 0.0,
                text: "started".into(),
            }],
        }
    }

    #[test]
    fn the_page_shows_everything_and_nothing_of_it_is_markup() {
        let page = status().html();
        for part in [
            "Virtual router 51 on eth0",
            "tcp 192.0.2.1:80",
            "10.0.0.1:80",
            "the brake holds servers that are down",
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;",
            "why &quot;not&quot; &amp; so",
            "add service: &lt;no&gt;",
            "1970-01-01T00:00:00Z",
            "Running for 1 h 6 min",
            "for 1 min 1 s",
            "points='0,21.0 3,1.0 6,11.0 '",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn the_metrics_have_a_line_for_each_server_and_end_as_openmetrics_does() {
        let metrics = status().metrics();
        for line in [
            "balancer_server_up{service=\"tcp 192.0.2.1:80\",server=\"10.0.0.1:80\"} 0",
            "balancer_server_in_use{service=\"tcp 192.0.2.1:80\",server=\"10.0.0.1:80\"} 1",
            "balancer_server_connections{service=\"tcp 192.0.2.1:80\",server=\"10.0.0.1:80\"} 3",
            "balancer_service_quorum{service=\"tcp 192.0.2.1:80\"} 1",
            "balancer_router_active{interface=\"eth0\",vrid=\"51\"} 1",
            "balancer_probes_total{result=\"failure\"} 2",
            "# EOF",
        ] {
            assert!(metrics.lines().any(|it| it == line), "{line}\n{metrics}");
        }
    }
}
