// Parts of a page that follow the database, without loading the page again.
//
// In an element with data-changes="/changes?study=UUID", which may have the marks that the page was
// made with in data-trials and data-reports, any element may have
//   data-part="URL"     its content is fetched from there again after a change
//   data-follows        "trials": only once a trial has begun or ended; default: after each report
//   data-later          it is fetched for the first time once the page is shown; within <details>
//                       once these are open
//   data-links          links and GET forms in it that have its own address, with another query,
//                       load into it
// A part that could not be fetched is asked for again with the next event, whatever has changed.
// A part that is out of sight, or folded, is fetched once it comes into sight. Requests carry the
// header x-part. What the reader has focused, scrolled, opened or typed stays as it is. A shown
// part gets the event "part-shown"; the document gets "changed" with the marks.
"use strict";

(() => {
  const root = document.querySelector("[data-changes]");
  // A part that took t is not fetched again within 50 t.
  const LEAST_GAP_MS = 2500;
  const LONGEST_GAP_MS = 30000;
  const GAP_FOR_COST = 50;
  const NO_ANSWER = "The server does not answer. What is shown may be old.";
  const PATIENCE_MS = 5000;
  const states = new WeakMap();
  let marks = root === null ? {} : { trials: root.dataset.trials, reports: root.dataset.reports };
  let source = null;
  let silence = 0;
  let isOpen = false;
  let brokeOff = false;

  function stateOf(part) {
    if (!states.has(part)) {
      states.set(part, { busy: false, stale: false, failed: false, inSight: false, next: 0, timer: 0 });
      sight.observe(part);
    }
    return states.get(part);
  }

  const sight = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const state = stateOf(target);
        state.inSight = isIntersecting;
        if (isIntersecting && state.stale) wish(target);
      }
    },
    { rootMargin: "200px" },
  );

  // The stream of changes

  function connect() {
    if (source !== null || root === null) return;
    source = new EventSource(root.dataset.changes);
    source.addEventListener("message", (event) => heard(JSON.parse(event.data)));
    source.addEventListener("open", () => {
      clearTimeout(silence);
      silence = 0;
      isOpen = true;
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) {
        disconnect();
        tell("This page follows no longer: load it again.");
        return;
      }
      // The browser connects again by itself: also after a stream that has just grown too old.
      // After a second error it may be another server, which knows nothing of the forms shown.
      brokeOff ||= !isOpen;
      isOpen = false;
      if (silence === 0) silence = setTimeout(() => tell(NO_ANSWER), PATIENCE_MS);
    });
  }

  function disconnect() {
    clearTimeout(silence);
    silence = 0;
    if (source !== null) source.close();
    source = null;
  }

  function heard(news) {
    tell(news.problem || "");
    if (news.problem) return;
    const before = marks;
    marks = news;
    document.dispatchEvent(new CustomEvent("changed", { detail: { before, now: news } }));
    for (const part of document.querySelectorAll("[data-part]")) {
      const mark = part.dataset.follows === "trials" ? "trials" : "reports";
      if (before[mark] !== news[mark] || brokeOff || stateOf(part).failed) wish(part);
    }
    brokeOff = false;
  }

  function tell(text) {
    const place = document.querySelector("[data-live]");
    if (place === null || place.textContent === text) return;
    place.textContent = text;
    place.hidden = text === "";
  }

  // Fetching

  function wish(part) {
    const state = stateOf(part);
    state.stale = true;
    if (!state.inSight || state.busy || state.timer) return;
    const wait = Math.max(0, state.next - performance.now());
    state.timer = setTimeout(() => {
      state.timer = 0;
      if (state.stale && part.isConnected) load(part);
    }, wait);
  }

  async function load(part) {
    const state = stateOf(part);
    if (state.busy) return;
    state.busy = true;
    state.stale = false;
    state.failed = false;
    const url = part.dataset.part;
    const begun = performance.now();
    try {
      const response = await fetch(url, { headers: { "x-part": "1", accept: "text/html" } });
      if (response.status === 401) tell("You are logged out: load this page again.");
      else if (response.status === 404) part.textContent = "There is no such thing any more.";
      else if (response.ok) show(part, await response.text(), url);
      else tell(await response.text());
      state.failed = response.status >= 500;
    } catch {
      state.failed = true;
      tell(NO_ANSWER);
    }
    const cost = performance.now() - begun;
    const rest = Math.min(Math.max(LEAST_GAP_MS, GAP_FOR_COST * cost), LONGEST_GAP_MS);
    state.next = performance.now() + rest;
    state.busy = false;
    if (state.stale || part.dataset.part !== url) wish(part);
  }

  function show(part, text, url) {
    if (part.dataset.part !== url) return; // A link has asked for something else meanwhile.
    const wanted = new DOMParser().parseFromString(text, "text/html").body;
    morph(part, wanted);
    part.dispatchEvent(new CustomEvent("part-shown", { bubbles: true }));
  }

  // Making a part's nodes like the wanted ones. Nodes that are alike stay, and with them focus,
  // scroll positions and open details.

  function keyOf(node) {
    return node.nodeType === Node.ELEMENT_NODE ? node.dataset.key || node.id || null : null;
  }

  function morph(present, wanted) {
    const keys = new Set([...wanted.children].map(keyOf).filter(Boolean));
    for (const child of [...present.children]) {
      const key = keyOf(child);
      if (key && !keys.has(key)) child.remove();
    }
    const keyed = new Map([...present.children].map((child) => [keyOf(child), child]));
    let place = present.firstChild;
    for (const node of [...wanted.childNodes]) {
      const key = keyOf(node);
      const match = key ? keyed.get(key) : place;
      if (!match || !isAlike(match, node)) {
        present.insertBefore(document.importNode(node, true), place);
        continue;
      }
      if (match === place) place = place.nextSibling;
      else present.insertBefore(match, place);
      adapt(match, node);
    }
    while (place !== null) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  function isAlike(present, wanted) {
    return present.nodeName === wanted.nodeName && keyOf(present) === keyOf(wanted);
  }

  function adapt(present, wanted) {
    if (present.nodeType !== Node.ELEMENT_NODE) {
      if (present.nodeValue !== wanted.nodeValue) present.nodeValue = wanted.nodeValue;
      return;
    }
    // These follow by themselves.
    if (present.dataset.part !== undefined || present.dataset.figure !== undefined) return;
    for (const { name } of [...present.attributes]) {
      if (!wanted.hasAttribute(name) && !isReaders(present, name)) present.removeAttribute(name);
    }
    for (const { name, value } of wanted.attributes) {
      if (isReaders(present, name)) continue;
      if (present.getAttribute(name) !== value) present.setAttribute(name, value);
    }
    morph(present, wanted);
  }

  // What the reader has done with it, not the server.
  function isReaders(element, name) {
    return name === "open" && element.nodeName === "DETAILS";
  }

  // Links and forms of a part

  // The part that an address loads into, if it is one of its own.
  function partOf(element, address) {
    const part = element.closest("[data-part][data-links]");
    if (!part) return null;
    const [present, wanted] = [part.dataset.part, address].map((url) => new URL(url, location.href));
    return present.origin + present.pathname === wanted.origin + wanted.pathname ? part : null;
  }

  function redirect(part, url) {
    part.dataset.part = url;
    stateOf(part).next = 0;
    load(part);
    if (part.getBoundingClientRect().top < 0) part.scrollIntoView();
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
    const part = link && isPlain && !event.defaultPrevented && partOf(link, link.href);
    if (!part) return;
    event.preventDefault();
    redirect(part, link.href);
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const part = form.method === "get" && partOf(form, form.action);
    if (!part) return;
    event.preventDefault();
    const query = new URLSearchParams(new FormData(form, event.submitter));
    redirect(part, `${form.action.split("?")[0]}?${query}`);
  });

  // A page that nobody sees asks for nothing. Browsers allow few open streams to one server.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) disconnect();
    else connect();
  });
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", () => document.hidden || connect());

  for (const part of document.querySelectorAll("[data-part]")) {
    const state = stateOf(part);
    if (!("later" in part.dataset)) continue;
    if (part.closest("details:not([open])")) state.stale = true;
    else load(part);
  }
  if (!document.hidden) connect();
})();
