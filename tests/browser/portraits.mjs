// What the fake cameras show in the pictures for docs/: drawn people, as the video files that Chromium takes for a
// camera (YUV4MPEG2, 4:2:0). And what a drawn screen shows.

import { writeFile } from 'node:fs/promises';
import path from 'node:path';

const FRAMES = 2;

const frame = (wall, figure, { x = 0, y = 0, width = 640, height = 480 } = {}) => ({
  width,
  height,
  svg: `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="${x} ${y} ${width} ${height}">
  <rect x="${x}" y="${y}" width="${width}" height="${height}" fill="${wall}"/>
  ${figure}
</svg>`,
});

/** What a phone's camera sees of a drawing if the phone is held upright. */
const UPRIGHT = { x: 140, y: -160, width: 360, height: 640 };

const eyes = (y) => `<g fill="#3b2a20"><circle cx="288" cy="${y}" r="7"/><circle cx="352" cy="${y}" r="7"/></g>`;
const smile = (y) => `<path d="M290 ${y}q30 26 60 0" fill="none" stroke="#8a3b32" stroke-width="7" stroke-linecap="round"/>`;

const PATIENT = [
  '#efe3d2',
  `<rect x="450" y="60" width="130" height="100" fill="#fffaf2" stroke="#c9a97c" stroke-width="8"/><path d="M458 148l40-48 26 28 20-18 28 38z" fill="#8fb39b"/>
  <path d="M70 480V250q0-24 24-24h452q24 0 24 24v230z" fill="#b5694f"/><path d="M320 226v254" stroke="#9d5741" stroke-width="6"/>
  <path d="M140 480q10-120 124-142h112q114 22 124 142z" fill="#5b6fa8"/>
  <path d="M272 338q48 44 96 0l-14-18h-68z" fill="#e9edf7"/>
  <rect x="290" y="272" width="60" height="72" rx="28" fill="#e0ae90"/>
  <ellipse cx="320" cy="208" rx="76" ry="94" fill="#efc3a6"/>
  <path d="M238 214q-16-118 82-124 98 6 82 124-8-44-28-66-54 20-108 0-20 22-28 66z" fill="#cfd2d6"/>
  <g fill="none" stroke="#5a4a44" stroke-width="5"><circle cx="288" cy="210" r="24"/><circle cx="352" cy="210" r="24"/><path d="M312 208q8-6 16 0"/></g>
  ${eyes(212)}${smile(254)}`,
];

const DRAWINGS = {
  doctor: frame(
    '#d8e6ec',
    `<rect x="40" y="50" width="150" height="190" fill="#f6fafb"/><path d="M115 50v190M40 145h150" stroke="#c3d5dd" stroke-width="6"/>
    <rect x="470" y="180" width="150" height="12" fill="#b9a58c"/><rect x="488" y="112" width="20" height="68" fill="#6f9bb0"/><rect x="512" y="124" width="16" height="56" fill="#c9785f"/><rect x="532" y="104" width="24" height="76" fill="#8fb07d"/>
    <path d="M222 190q0-120 98-120t98 120v110q-98 40-196 0z" fill="#3d2b23"/>
    <path d="M130 480q10-130 130-150h120q120 20 130 150z" fill="#fbfdfe"/>
    <path d="M262 330l58 90 58-90-20-14h-76z" fill="#4d8f9d"/>
    <rect x="288" y="270" width="64" height="74" rx="30" fill="#c98f6c"/>
    <ellipse cx="320" cy="206" rx="78" ry="98" fill="#d9a27e"/>
    <path d="M240 190q10-84 80-84t80 84q-34-18-50-52-30 44-110 52z" fill="#3d2b23"/>
    ${eyes(206)}${smile(250)}
    <path d="M262 342q-14 66 34 92M378 342q14 60-26 84" fill="none" stroke="#33454d" stroke-width="9" stroke-linecap="round"/><circle cx="300" cy="440" r="14" fill="#33454d"/>`,
  ),
  patient: frame(...PATIENT),
  patientUpright: frame(...PATIENT, UPRIGHT),
  interpreter: frame(
    '#dfe6d5',
    `<rect x="40" y="70" width="170" height="12" fill="#a98f6d"/><rect x="60" y="22" width="18" height="48" fill="#c9785f"/><rect x="82" y="14" width="26" height="56" fill="#5f7fa3"/><rect x="112" y="28" width="16" height="42" fill="#d8b25f"/>
    <path d="M520 480V300q-60-30-50-90 56 16 62 70 6-80 70-98 4 80-58 118v180z" fill="#7fa071"/>
    <path d="M124 480q12-126 132-148h128q120 22 132 148z" fill="#38705f"/>
    <path d="M264 330q56 54 112 0l-18-16h-76z" fill="#2c594b"/>
    <rect x="286" y="272" width="68" height="72" rx="30" fill="#8f5f42"/>
    <ellipse cx="320" cy="206" rx="78" ry="96" fill="#a06d4c"/>
    <path d="M242 196q-8-96 78-100t78 100q-12-34-34-46-44 14-88 0-22 12-34 46z" fill="#1f1a18"/>
    <path d="M236 206q0-112 84-112t84 112" fill="none" stroke="#33454d" stroke-width="10"/><rect x="224" y="188" width="26" height="52" rx="12" fill="#33454d"/><rect x="390" y="188" width="26" height="52" rx="12" fill="#33454d"/><path d="M238 238q6 50 48 52" fill="none" stroke="#33454d" stroke-width="6"/><circle cx="290" cy="290" r="8" fill="#33454d"/>
    ${eyes(206)}${smile(246)}`,
  ),
};

/** Draws everybody with that browser; returns the file of each. */
export async function portraits(chromium, home) {
  const page = await chromium.newPage();
  const files = {};
  for (const [who, drawing] of Object.entries(DRAWINGS)) {
    const pixels = await page.evaluate(draw, drawing);
    files[who] = path.join(home, `${who}.y4m`);
    await writeFile(files[who], film(Buffer.from(pixels, 'base64'), drawing));
  }
  await page.close();
  return files;
}

async function draw({ svg, width, height }) {
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  await image.decode();
  const paper = new OffscreenCanvas(width, height).getContext('2d');
  paper.drawImage(image, 0, 0);
  const { data } = paper.getImageData(0, 0, width, height);
  let text = '';
  for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
  return btoa(text);
}

/** RGBA as film: brightness for every pixel, colour for every four (BT.601). */
function film(rgba, { width, height }) {
  const planes = [Buffer.alloc(width * height), Buffer.alloc((width * height) / 4), Buffer.alloc((width * height) / 4)];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [r, g, b] = rgba.subarray(4 * (y * width + x));
      planes[0][y * width + x] = 16 + (66 * r + 129 * g + 25 * b) / 256;
      if (x % 2 || y % 2) continue;
      const at = (y * width) / 4 + x / 2;
      planes[1][at] = 128 + (-38 * r - 74 * g + 112 * b) / 256;
      planes[2][at] = 128 + (112 * r - 94 * g - 18 * b) / 256;
    }
  }
  const picture = Buffer.concat([Buffer.from('FRAME\n'), ...planes]);
  return Buffer.concat([Buffer.from(`YUV4MPEG2 W${width} H${height} F15:1 Ip A1:1 C420\n`), ...Array(FRAMES).fill(picture)]);
}

/** A device whose screen shows how somebody's blood pressure went, wherever `getDisplayMedia` takes it from. */
export const SCREEN = `if (navigator.mediaDevices) navigator.mediaDevices.getDisplayMedia = async () => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 1280, height: 720 });
  const paper = canvas.getContext('2d');
  const write = (text, x, y, font, color) => Object.assign(paper, { font: font + ' sans-serif', fillStyle: color }).fillText(text, x, y);
  const line = (values, color) => {
    paper.beginPath();
    for (const [at, value] of values.entries()) paper.lineTo(150 + at * 150, 860 - 4 * value);
    Object.assign(paper, { strokeStyle: color, lineWidth: 8, lineJoin: 'round' }).stroke();
  };
  const draw = () => {
    paper.fillStyle = '#ffffff';
    paper.fillRect(0, 0, 1280, 720);
    write('Blood pressure at home', 80, 110, '600 52px', '#1d3b44');
    write('Mornings of this week, in mmHg', 80, 165, '30px', '#55707a');
    paper.fillStyle = '#e3ebee';
    for (const value of [80, 100, 120, 140, 160]) paper.fillRect(130, 859 - 4 * value, 1070, 2);
    for (const value of [80, 120, 160]) write(String(value), 60, 870 - 4 * value, '28px', '#55707a');
    for (const [at, day] of ['Mo', 'Tu', 'We', 'Th', 'Fr', 'Sa', 'Su'].entries()) write(day, 132 + at * 150, 620, '28px', '#55707a');
    line([158, 154, 149, 151, 142, 138, 134], '#b5473c');
    line([96, 94, 93, 90, 88, 86, 84], '#1f6f8b');
    write('upper value', 230, 690, '28px', '#b5473c');
    write('lower value', 480, 690, '28px', '#1f6f8b');
  };
  setInterval(draw, 100);
  draw();
  return canvas.captureStream(10);
};`;
