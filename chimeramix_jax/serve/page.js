"use strict";
// Sends photos to the server, one after the other, and shows what it answers. Everything from outside, such as the names
// of files and classes, is set as text.
const settings = document.body.dataset;
const mostBytes = Number(settings.megabytes) * 1e6;
const mostClasses = Number(settings.mostClasses);
const find = id => document.getElementById(id);
const waiting = [];
const answers = []; // the newest first
const MOST_KEPT = 24;
let busy = false;
let shown = null;
let stream = null; // of the camera

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  if (share < 1 && share >= 0.9995) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

function complain(sentence) {
  find("problems").append(element("p", {className: "problem", textContent: sentence}));
}

// Queue

function add(files) {
  find("problems").replaceChildren();
  for (const file of files) {
    if (file.size > mostBytes) complain(`${file.name} is larger than ${settings.megabytes} MB; reduce its size first.`);
    else waiting.push(file);
  }
  if (!busy) work();
}

async function work() {
  busy = true;
  while (waiting.length) {
    const file = waiting.shift();
    const others = waiting.length ? ` (${waiting.length} more)` : "";
    find("status").textContent = `Classifying ${file.name}${others} …`;
    try {
      const answer = await classify(file);
      answers.unshift(answer);
      answers.length = Math.min(answers.length, MOST_KEPT);
      show(answer);
    } catch (error) {
      complain(error.message);
    }
  }
  find("status").textContent = "";
  busy = false;
}

async function classify(file) {
  const form = new FormData();
  form.append("photo", file, file.name);
  form.append("explain", "yes");
  let response;
  try {
    response = await fetch("classify", {method: "POST", body: form});
  } catch {
    throw new Error(`${file.name} could not be sent. Is the server still running?`);
  }
  const answer = await response.json().catch(() => ({error: `The server answered with status ${response.status}.`}));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// Result

function show(answer) {
  shown = answer;
  const share = percent(answer.probability);
  const [first, second] = answer.classes;
  const verdict = answer.rejected
    ? [settings.none, `${share} for ${first.class}, which is below ${percent(Number(settings.rejectBelow))}`]
    : [first.class, share];
  find("verdict").replaceChildren(
    element("p", {className: "quiet", textContent: answer.image}),
    element("p", {className: "answer", textContent: verdict[0]}),
    element("p", {className: "share", textContent: verdict[1]}),
  );
  if (answer.trained_on) find("verdict").append(element("p", {className: "quiet", textContent: settings.trainedOn}));
  find("picture").src = answer.picture;
  find("heat-map").src = answer.heat_map;
  find("heat-map").alt = `The same in grey: orange where it speaks for ${first.class}, blue where it speaks for ${second.class}`;
  find("for").textContent = first.class;
  find("against").textContent = second.class;
  find("details").hidden = false;
  showBars(answer);
  showNearest(answer);
  showEarlier();
  const top = find("verdict").getBoundingClientRect().top;
  if (top < 0 || top > innerHeight - 150) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    find("result").scrollIntoView({behavior: calm ? "auto" : "smooth"});
  }
}

function showBars(answer) {
  const bars = find("bars"), button = find("all"), open = button.getAttribute("aria-expanded") === "true";
  bars.classList.toggle("rejected", answer.rejected);
  bars.replaceChildren(...answer.classes.map(({class: name, probability}, place) => {
    const filled = element("span");
    filled.style.width = `${100 * probability}%`;
    const bar = element("span", {className: "bar"}, filled);
    bar.setAttribute("aria-hidden", "true");
    const label = element("span", {className: "name", textContent: name});
    const number = element("span", {className: "share", textContent: percent(probability)});
    const row = element("li", {className: place < mostClasses ? "" : "more"}, label, bar, number);
    row.classList.toggle("shown", open);
    return row;
  }));
  button.hidden = answer.classes.length <= mostClasses;
  button.textContent = open ? `Show only the first ${mostClasses}` : `Show all ${answer.classes.length} classes`;
}

function showNearest(answer) {
  const list = find("nearest");
  if (!list) return;
  list.replaceChildren(...answer.nearest.map(near => {
    const image = element("img", {src: near.picture, alt: ""});
    const similarity = element("span", {className: "quiet", textContent: near.similarity.toFixed(3)});
    return element("li", {title: near.image}, image, near.class, similarity);
  }));
}

function showEarlier() {
  find("earlier").hidden = answers.length < 2;
  find("photos").replaceChildren(...answers.map(answer => {
    const image = element("img", {src: answer.picture, alt: ""});
    const text = answer.answer ?? settings.none;
    const button = element("button", {type: "button", title: answer.image}, image, text);
    if (answer === shown) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => {
      show(answer);
      find("photos").children[answers.indexOf(answer)].firstChild.focus();
    });
    return element("li", {}, button);
  }));
}

find("all").addEventListener("click", event => {
  const open = event.target.getAttribute("aria-expanded") !== "true";
  event.target.setAttribute("aria-expanded", String(open));
  showBars(shown);
});

// Ways to choose a photo

for (const id of ["file", "taken"]) {
  find(id).addEventListener("change", event => {
    add([...event.target.files]);
    event.target.value = ""; // so that the same file can be chosen again
  });
}

document.addEventListener("dragover", event => {
  event.preventDefault();
  find("drop").classList.add("over");
});
document.addEventListener("dragleave", event => {
  if (!event.relatedTarget) find("drop").classList.remove("over");
});
document.addEventListener("drop", event => {
  event.preventDefault();
  find("drop").classList.remove("over");
  const files = [...event.dataTransfer.files];
  if (files.length) add(files);
  else complain("That was not a file. Save the photo first, and drop the file.");
});
document.addEventListener("paste", event => {
  const files = [...event.clipboardData.files];
  if (files.length) add(files);
});

// Camera: phones have their own program for it, which also works without a secure connection.

const isTouched = matchMedia("(pointer: coarse)").matches;
find("phone").hidden = !isTouched;
find("webcam").hidden = isTouched || !navigator.mediaDevices;
if (isTouched) find("invitation").hidden = true;

function closeCamera() {
  for (const track of stream ? stream.getTracks() : []) track.stop();
  stream = null;
  find("viewfinder").hidden = true;
  find("webcam").hidden = false;
}

find("webcam").addEventListener("click", async event => {
  find("problems").replaceChildren();
  const button = event.currentTarget;
  button.disabled = true; // a second stream would stay on, since only the last is closed
  try {
    stream = await navigator.mediaDevices.getUserMedia({video: {width: {ideal: 1280}, height: {ideal: 960}}});
  } catch {
    complain("The camera cannot be used. Is there one, and did you allow this page to use it?");
    return;
  } finally {
    button.disabled = false;
  }
  find("video").srcObject = stream;
  find("viewfinder").hidden = false;
  find("webcam").hidden = true;
  find("shoot").focus();
});
find("close").addEventListener("click", () => {
  closeCamera();
  find("webcam").focus();
});
find("shoot").addEventListener("click", () => {
  const video = find("video");
  if (!video.videoWidth) return; // no picture has arrived yet
  const canvas = element("canvas", {width: video.videoWidth, height: video.videoHeight});
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob(blob => add([new File([blob], "camera.jpg", {type: "image/jpeg"})]), "image/jpeg", 0.95);
});
