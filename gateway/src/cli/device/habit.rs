//! What is usual for a device, and what was told of it.

use super::{Context, Request, Response, strange};
use crate::cli::CliError;
use crate::cli::alerts;
use crate::cli::units::{counted, period};
use crate::control::message::{AlertStatus, BehaviourRequest, BehaviourResponse, HabitStatus};
use crate::flow::DeviceName;

/// As text, for `device show`; nothing if nothing was learnt.
pub(super) fn ask(context: &Context<'_>, device: &DeviceName) -> Result<String, CliError> {
    if context.json {
        return Ok(String::new());
    }
    let request = Request::Behaviour(BehaviourRequest::Habits {
        device: Some(device.clone()),
        role: None,
    });
    let Response::Behaviour(BehaviourResponse::Habits { habits }) = context.ask(&request)? else {
        return Err(strange());
    };
    let alerts = alerts::ask(context, Some(device.clone()))?;
    Ok(habits
        .first()
        .map_or_else(String::new, |habit| render(habit, &alerts)))
}

fn render(habit: &HabitStatus, alerts: &[AlertStatus]) -> String {
    let state = match habit.learning_seconds {
        Some(left) => format!("is still being learnt, for {}", period(left)),
        None => "was learnt".to_owned(),
    };
    let hours = habit.hours.iter().filter(|count| **count > 0).count();
    let mut text = format!(
        "\nwhat it does {state}: {} in {} of the week, at most {} in a minute and {} in an hour\n",
        counted(habit.lines.len(), "different message"),
        counted(hours, "hour"),
        habit.busiest_minute,
        habit.busiest_hour,
    );
    let waiting: Vec<AlertStatus> = alerts.iter().filter(|a| !a.accepted).cloned().collect();
    if !waiting.is_empty() {
        text.push_str(&format!("\n{}", alerts::render(&waiting)));
        let device = &habit.device;
        text.push_str(&format!(
            "if that is usual: lazaret alerts accept {device}\n"
        ));
    }
    text
}
