// Show times in the time zone of the browser. Pages without scripts show them in UTC.
export function showTimes(root) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang, {
    dateStyle: "medium",
    timeStyle: "short",
  });
  for (const element of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    element.title = moment.toISOString();
    element.textContent = format.format(moment);
  }
}
