// The page of valle-serve: speech as it is synthesized, with its words, waveform, spectrogram and codes.

const $ = (id) => document.getElementById(id);
const MAX_RECORDING = 10; // seconds
const FFT = 512; // samples of a window of the spectrogram
const TOP_FREQUENCY = 8000; // hertz
const PCM_RATE = 24000; // hertz of the server's format pcm
const REDRAW = 400; // milliseconds between two pictures of growing speech
const RANGE = 75; // decibels between the darkest and the brightest color

// --- Helpers ---

/** Fetch, and throw an Error with the server's own words where it refuses. */
async function request(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Is valle-serve still running?");
  }
  if (response.ok) return response;
  let message = `The server answered ${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error.message;
  } catch { /* not JSON: the status says it */ }
  throw new Error(message);
}

function show(element, message) {
  element.textContent = message;
  element.hidden = !message;
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const ascii = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  ascii(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  ascii(8, "WAVEfmt ");
  [[16, 16, 4], [20, 1, 2], [22, 1, 2], [24, rate, 4], [28, 2 * rate, 4], [32, 2, 2], [34, 16, 2]].forEach(
    ([at, value, bytes]) => (bytes === 4 ? view.setUint32(at, value, true) : view.setUint16(at, value, true)));
  ascii(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, x))), true));
  return new Blob([view], { type: "audio/wav" });
}

function join(chunks) {
  const whole = new Float32Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

// --- Speech: samples that grow while they are played ---

class Speech {
  constructor(rate) {
    this.rate = rate;
    this.chunks = [];
    this.words = [];
    this.codes = [];
    this.complete = false;
    this.sources = new Set();
    this.playing = false;
    this.start = 0; // seconds of the context's clock at which the speech begins
    this.paused = 0; // seconds of the speech
    this.context = new AudioContext({ sampleRate: rate });
  }

  get duration() {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0) / this.rate;
  }

  get position() {
    const now = this.playing ? Math.max(0, this.context.currentTime - this.start) : this.paused;
    return Math.min(now, this.duration);
  }

  get samples() {
    return join(this.chunks);
  }

  append(samples) {
    const from = this.duration;
    this.chunks.push(samples);
    if (!this.playing) return;
    // After a wait for the server the rest is played later.
    if (this.context.currentTime > this.start + from) this.start = this.context.currentTime - from + 0.02;
    this.schedule(samples, from);
  }

  schedule(samples, from) {
    if (!samples.length) return;
    const buffer = this.context.createBuffer(1, samples.length, this.rate);
    buffer.copyToChannel(samples, 0);
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    source.start(Math.max(this.context.currentTime, this.start + from));
    source.onended = () => {
      this.sources.delete(source);
      if (this.playing && this.complete && !this.sources.size) {
        this.playing = false;
        this.paused = 0;
      }
    };
    this.sources.add(source);
  }

  play(from = this.paused) {
    this.pause();
    this.context.resume();
    this.playing = true;
    this.start = this.context.currentTime + 0.03 - from;
    this.schedule(this.samples.subarray(Math.round(from * this.rate)), from);
  }

  pause() {
    this.paused = this.position;
    this.playing = false;
    for (const source of this.sources) {
      source.onended = null;
      source.stop();
    }
    this.sources.clear();
  }

  close() {
    this.pause();
    this.context.close();
  }
}

// --- Pictures ---

/** Set a canvas to the pixels of the screen, and return its context. */
function canvas(id) {
  const element = $(id);
  const scale = window.devicePixelRatio || 1;
  const height = Number(element.dataset.height ??= element.getAttribute("height"));
  element.width = Math.max(1, Math.round(element.clientWidth * scale));
  element.height = Math.round(height * scale);
  element.style.height = `${height}px`;
  return element.getContext("2d");
}

function drawWaveform(samples) {
  const context = canvas("waveform");
  const { width, height } = context.canvas;
  context.fillStyle = color("accent");
  const peak = Math.max(0.05, samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0));
  for (let x = 0; x < width; x++) {
    let low = 0;
    let high = 0;
    const end = Math.floor(((x + 1) * samples.length) / width);
    for (let i = Math.floor((x * samples.length) / width); i < end; i++) {
      low = Math.min(low, samples[i]);
      high = Math.max(high, samples[i]);
    }
    context.fillRect(x, (height / 2) * (1 - high / peak), 1, Math.max(1, ((height / 2) * (high - low)) / peak));
  }
}

/** In-place fast Fourier transform of a power of two complex values. */
function transform(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let size = 2; size <= n; size <<= 1) {
    for (let k = 0; k < size / 2; k++) {
      const c = Math.cos((-2 * Math.PI * k) / size);
      const s = Math.sin((-2 * Math.PI * k) / size);
      for (let i = k; i < n; i += size) {
        const other = i + size / 2;
        const re = c * real[other] - s * imaginary[other];
        const im = s * real[other] + c * imaginary[other];
        real[other] = real[i] - re;
        imaginary[other] = imaginary[i] - im;
        real[i] += re;
        imaginary[i] += im;
      }
    }
  }
}

/** A color from the background's end of a scale to bright, for 0 to 1. */
function heat(value) {
  const x = Math.max(0, Math.min(1, value));
  return [255 * Math.min(1, Math.max(0, 2.2 * x - 0.7)), 255 * x ** 1.3, 70 + 140 * Math.sin(Math.PI * Math.min(1, x * 0.9))];
}

function drawSpectrogram(samples, rate) {
  const context = canvas("spectrogram");
  const { width, height } = context.canvas;
  const top = Math.min(FFT / 2, Math.round((TOP_FREQUENCY / rate) * FFT));
  const columns = [];
  let peak = 1e-3;
  for (let x = 0; x < width; x++) {
    const center = Math.floor(((x + 0.5) * samples.length) / width);
    const real = new Float32Array(FFT);
    const imaginary = new Float32Array(FFT);
    for (let i = 0; i < FFT; i++) {
      const window = 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FFT);
      real[i] = (samples[center - FFT / 2 + i] ?? 0) * window;
    }
    transform(real, imaginary);
    const power = real.map((value, bin) => value ** 2 + imaginary[bin] ** 2).subarray(0, top);
    columns.push(power);
    peak = Math.max(peak, ...power);
  }
  const image = context.createImageData(width, height);
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const bin = Math.min(top - 1, Math.floor(((height - 1 - y) * top) / height));
      const decibels = 10 * Math.log10(columns[x][bin] / peak + 1e-9);
      image.data.set([...heat(1 + decibels / RANGE), 255], 4 * (y * width + x));
    }
  }
  context.putImageData(image, 0, 0);
}

function drawCodes(codes) {
  $("codes-figure").hidden = !codes.length;
  if (!codes.length) return;
  const context = canvas("codes");
  const { width, height } = context.canvas;
  const rows = codes[0].length;
  for (let x = 0; x < width; x++) {
    const frame = codes[Math.floor((x * codes.length) / width)];
    frame.forEach((code, row) => {
      const [red, green, blue] = heat((code % 1024) / 1024);
      context.fillStyle = `rgb(${red} ${green} ${blue})`;
      context.fillRect(x, (row * height) / rows, 1, height / rows);
    });
  }
}

// --- Result ---

let speech = null;
let job = null; // of the speech that is shown: its request
let controller = null;

function addWords(words) {
  for (const word of words) {
    speech.words.push(word);
    const span = document.createElement("span");
    span.textContent = word.text;
    $("words").append(span, " ");
  }
}

let drawn = 0;

function draw() {
  const samples = speech.samples;
  drawWaveform(samples);
  drawSpectrogram(samples, speech.rate);
  drawCodes(speech.codes);
  drawn = performance.now();
}

function tick() {
  if (speech) {
    const { position, duration } = speech;
    $("position").max = duration.toFixed(2);
    if (document.activeElement !== $("position") || speech.playing) $("position").value = position;
    $("time").textContent = `${position.toFixed(1)} of ${duration.toFixed(1)} s`;
    $("play").textContent = speech.playing ? "Pause" : "Play";
    const spans = $("words").children;
    speech.words.forEach((word, index) => {
      spans[index].classList.toggle("spoken", speech.playing && position >= word.start && position < word.end);
    });
  }
  requestAnimationFrame(tick);
}

function measures(first, seconds) {
  const parts = [`first audio after ${first.toFixed(2)} s`, `${speech.duration.toFixed(1)} s of speech in ${seconds.toFixed(1)} s`, `seed ${job.seed}`];
  $("measures").textContent = parts.join(", ");
}

/** Yield the events of a response of server-sent events. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split(/\r?\n\r?\n/);
    text = blocks.pop();
    for (const block of blocks) {
      const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

function pcm(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const integers = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length >> 1 }, (_, i) => integers.getInt16(2 * i, true) / 32768);
}

/** Show a new result in place of the last one. */
function replaceSpeech(next, options) {
  speech?.close();
  speech = next;
  job = options;
  $("words").replaceChildren();
  $("measures").textContent = "";
  URL.revokeObjectURL($("download-wav").href);
  $("download-wav").removeAttribute("href");
  $("result").hidden = false;
}

async function synthesize() {
  show($("error"), "");
  speech?.pause();
  const options = {
    model: models[0].id, input: $("text").value, voice: $("voice").value, speed: Number($("speed").value),
    seed: Number($("seed").value), temperature: Number($("temperature").value), attempts: Number($("attempts").value),
  };
  controller = new AbortController();
  $("synthesize").disabled = true;
  $("stop").disabled = false;
  $("status").textContent = "Synthesizing …";
  const begin = performance.now();
  const elapsed = () => (performance.now() - begin) / 1000;
  let first = 0;
  try {
    const body = { ...options, response_format: "pcm", stream_format: "sse", timestamps: true, codes: true };
    const response = await request("v1/audio/speech", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal: controller.signal,
    });
    for await (const event of events(response)) {
      if (event.type === "error") throw new Error(event.error.message);
      if (event.type === "speech.audio.delta") {
        if (!first) {
          first = elapsed();
          replaceSpeech(new Speech(PCM_RATE), options);
          speech.play(0);
        }
        speech.append(pcm(event.audio));
      }
      addWords(event.words ?? []);
      speech?.codes.push(...(event.codes ?? []));
      if (performance.now() - drawn > REDRAW) draw();
    }
    $("status").textContent = "Done";
  } catch (error) {
    const stopped = error.name === "AbortError";
    $("status").textContent = stopped ? "Stopped" : "";
    if (stopped) speech?.pause();
    else show($("error"), error.message);
  } finally {
    $("synthesize").disabled = false;
    $("stop").disabled = true;
  }
  if (!first) return;
  speech.complete = true;
  draw();
  measures(first, elapsed());
  $("download-wav").href = URL.createObjectURL(wav(speech.samples, speech.rate));
}

async function downloadMp3() {
  const button = $("download-mp3");
  button.disabled = true;
  try {
    const response = await request("v1/audio/speech", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ ...job, response_format: "mp3" }),
    });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = "speech.mp3";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  } catch (error) {
    show($("error"), error.message);
  } finally {
    button.disabled = false;
  }
}

// --- Voices ---

let models = [];
let voices = [];

async function loadVoices(selected) {
  voices = (await (await request("v1/audio/voices")).json()).data;
  const wanted = selected ?? $("voice").value;
  $("voice").replaceChildren(...voices.map((voice) => new Option(voice.bundled ? voice.name : `${voice.name} (saved)`, voice.name)));
  const fallback = voices.find((voice) => voice.default) ?? voices[0];
  $("voice").value = voices.some((voice) => voice.name === wanted) ? wanted : fallback?.name;
  updateRemove();
}

function updateRemove() {
  const voice = voices.find((each) => each.name === $("voice").value);
  $("remove").hidden = !voice || voice.bundled;
}

async function removeVoice() {
  const name = $("voice").value;
  if (!confirm(`Delete the voice ${name}?`)) return;
  try {
    await request(`v1/audio/voices/${encodeURIComponent(name)}`, { method: "DELETE" });
    await loadVoices();
    $("status").textContent = `Voice ${name} deleted`;
  } catch (error) {
    show($("error"), error.message);
  }
}

let recording = null; // Blob of the new voice
let recorder = null;

function setRecording(blob, seconds) {
  recording = blob;
  URL.revokeObjectURL($("preview").src);
  $("preview").src = URL.createObjectURL(blob);
  $("preview").hidden = false;
  if (seconds) $("recording").textContent = `${seconds.toFixed(1)} s recorded`;
}

const WORKLET = `registerProcessor("recorder", class extends AudioWorkletProcessor {
  process(inputs) { if (inputs[0].length) this.port.postMessage(inputs[0][0].slice()); return true; }
});`;

async function startRecording() {
  show($("voice-error"), "");
  if (!navigator.mediaDevices) throw new Error("This browser records on https or on localhost only; choose a file instead.");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
  } catch (error) {
    throw new Error(error.name === "NotFoundError" ? "No microphone was found; choose a file instead." : "The microphone may not be used; allow it in the browser, or choose a file.");
  }
  const context = new AudioContext();
  const module = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
  await context.audioWorklet.addModule(module);
  URL.revokeObjectURL(module);
  const node = new AudioWorkletNode(context, "recorder");
  context.createMediaStreamSource(stream).connect(node);
  const chunks = [];
  let length = 0;
  recorder = { stop() {
    recorder = null;
    stream.getTracks().forEach((track) => track.stop());
    context.close();
    $("record").textContent = "Record again";
    $("level").value = 0;
    setRecording(wav(join(chunks), context.sampleRate), length / context.sampleRate);
  } };
  $("record").textContent = "Stop recording";
  node.port.onmessage = ({ data }) => {
    if (!recorder) return;
    chunks.push(data);
    length += data.length;
    $("level").value = Math.max(...data.map(Math.abs));
    const seconds = length / context.sampleRate;
    $("recording").textContent = `${seconds.toFixed(1)} s; three seconds are enough`;
    if (seconds >= MAX_RECORDING) recorder.stop();
  };
}

async function toggleRecording() {
  if (recorder) {
    recorder.stop();
    return;
  }
  try {
    await startRecording();
  } catch (error) {
    show($("voice-error"), error.message);
  }
}

function chooseFile() {
  const [file] = $("file").files;
  if (!file) return;
  setRecording(file);
  $("recording").textContent = file.name;
}

async function saveVoice() {
  show($("voice-error"), "");
  if (!recording) {
    show($("voice-error"), "Record three seconds of the voice, or choose a file.");
    return;
  }
  const form = new FormData();
  form.append("name", $("name").value);
  form.append("audio_sample", recording, recording.name ?? "recording.wav");
  if ($("transcript").value.trim()) form.append("text", $("transcript").value.trim());
  form.append("consent", "The person who is recorded has agreed to this use of their voice.");
  $("save").disabled = true;
  try {
    const saved = await (await request("v1/audio/voices", { method: "POST", body: form })).json();
    await loadVoices(saved.name);
    $("recording").textContent = [`Saved as ${saved.name}`, ...(saved.warnings ?? [])].join(". ");
    $("new-voice").reset();
    recording = null;
    $("preview").hidden = true;
  } catch (error) {
    show($("voice-error"), error.message);
  } finally {
    $("save").disabled = false;
  }
}

// --- Page ---

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = theme === "dark" ? "Light" : "Dark";
  localStorage.setItem("theme", theme);
  if (speech?.duration) draw();
}

function on(id, event, action) {
  $(id).addEventListener(event, action);
}

on("form", "submit", (event) => {
  event.preventDefault();
  synthesize();
});
on("stop", "click", () => controller?.abort());
on("play", "click", () => (speech.playing ? speech.pause() : speech.play()));
on("position", "input", () => {
  const playing = speech.playing;
  speech.pause();
  speech.paused = Number($("position").value);
  if (playing) speech.play();
});
on("download-mp3", "click", downloadMp3);
on("voice", "change", updateRemove);
on("remove", "click", removeVoice);
on("record", "click", toggleRecording);
on("file", "change", chooseFile);
on("new-voice", "submit", (event) => {
  event.preventDefault();
  saveVoice();
});
on("theme", "click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  setTheme(dark ? "light" : "dark");
});
for (const [id, digits] of [["temperature", 1], ["speed", 2], ["attempts", 0]]) {
  on(id, "input", () => ($(`${id}-value`).textContent = Number($(id).value).toFixed(digits)));
}
const count = () => ($("count").textContent = `${[...$("text").value].length} characters.`);
on("text", "input", count);
addEventListener("resize", () => speech?.duration && draw());

count();
const theme = localStorage.getItem("theme");
if (theme) setTheme(theme);
else $("theme").textContent = matchMedia("(prefers-color-scheme: dark)").matches ? "Light" : "Dark";
requestAnimationFrame(tick);
try {
  models = (await (await request("v1/models")).json()).data;
  $("model").textContent = `model ${models[0].id}`;
  await loadVoices();
} catch (error) {
  show($("error"), error.message);
}
