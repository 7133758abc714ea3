// Times are sent in UTC: here they become the reader's own.
"use strict";

function showLocalTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    element.title = element.dateTime;
    element.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
}

// What live.js has fetched gets the same.
document.addEventListener("part-shown", (event) => showLocalTimes(event.target));
showLocalTimes(document);

// MLflow's assistant cannot be used under this address: its first page there must not open with it.
try {
  localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
} catch {
  // Without storage it opens, no more.
}
