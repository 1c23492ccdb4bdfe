// The page's pictures, drawn on a thread of their own: to fill the pixels of one takes longer than all else that the page does in a frame.
//
// The page says:  {canvas: number, pixels: OffscreenCanvas}   {canvas: number, gone: true}
//                 {steps: Float32Array, words}   what to draw: see below; one such message a frame, for all pictures together
// It is told:     how many of these were drawn since it was last told   "again": from now on it draws, or what it drew is lost
"use strict";

const TELL = 2; // a word back costs the page about as much as a message
const FONT_MS = 1000; // so long the pictures wait for their font, at most

// Each picture's context keeps what was set in it.
const pictures = new Map();
// Where steps of a picture go that is not there any more.
const nowhere = new OffscreenCanvas(1, 1).getContext("2d");
let drawn = 0;

// The page's fonts are not those of a worker; and a browser keeps to the next font of the list where a font came after words were drawn.
async function load_font() {
  const font = new FontFace("Inter", 'url("/fonts/inter-latin.woff2") format("woff2")', { weight: "400 700" });
  self.fonts.add(await font.load());
}

const too_late = new Promise((go) => setTimeout(go, FONT_MS));
Promise.race([load_font().catch(() => {}), too_late]).then(() => postMessage("again"));

// Each step is its number (frontend/src/view/chart/pen.rs has the same), then what it is about; texts are taken from `words`, one by one.
function draw(steps, words) {
  let at = 0;
  let word = 0;
  let it = nowhere;
  while (at < steps.length) {
    switch (steps[at++]) {
      case 0: // Canvas
        it = pictures.get(steps[at++]) ?? nowhere;
        break;
      case 1: // Resize: width and height in its own pixels, and how many of them make one of the page
        it.canvas.width = steps[at];
        it.canvas.height = steps[at + 1];
        it.setTransform(steps[at + 2], 0, 0, steps[at + 2], 0, 0);
        at += 3;
        break;
      case 2: // Save
        it.save();
        break;
      case 3: // Restore
        it.restore();
        break;
      case 4: // BeginPath
        it.beginPath();
        break;
      case 5: // MoveTo
        it.moveTo(steps[at], steps[at + 1]);
        at += 2;
        break;
      case 6: // LineTo
        it.lineTo(steps[at], steps[at + 1]);
        at += 2;
        break;
      case 7: // Rect
        it.rect(steps[at], steps[at + 1], steps[at + 2], steps[at + 3]);
        at += 4;
        break;
      case 8: // Circle
        it.arc(steps[at], steps[at + 1], steps[at + 2], 0, 2 * Math.PI);
        at += 3;
        break;
      case 9: // Clip
        it.clip();
        break;
      case 10: // Fill
        it.fill();
        break;
      case 11: // Stroke
        it.stroke();
        break;
      case 12: // FillRect
        it.fillRect(steps[at], steps[at + 1], steps[at + 2], steps[at + 3]);
        at += 4;
        break;
      case 13: // StrokeRect
        it.strokeRect(steps[at], steps[at + 1], steps[at + 2], steps[at + 3]);
        at += 4;
        break;
      case 14: // ClearRect
        it.clearRect(steps[at], steps[at + 1], steps[at + 2], steps[at + 3]);
        at += 4;
        break;
      case 15: // LineWidth
        it.lineWidth = steps[at++];
        break;
      case 16: // Alpha
        it.globalAlpha = steps[at++];
        break;
      case 17: // Dash: on and off; a full line for 0
        it.setLineDash(steps[at] > 0 ? [steps[at], steps[at + 1]] : []);
        at += 2;
        break;
      case 18: // FillStyle
        it.fillStyle = words[word++];
        break;
      case 19: // StrokeStyle
        it.strokeStyle = words[word++];
        break;
      case 20: // LineJoin
        it.lineJoin = words[word++];
        break;
      case 21: // Font
        it.font = words[word++];
        break;
      case 22: // TextAlign
        it.textAlign = words[word++];
        break;
      case 23: // FillText
        it.fillText(words[word++], steps[at], steps[at + 1]);
        at += 2;
        break;
      default:
        throw new Error(`no step ${steps[at - 1]}`);
    }
  }
}

onmessage = ({ data }) => {
  if (data.pixels) {
    data.pixels.addEventListener("contextrestored", () => postMessage("again"));
    pictures.set(data.canvas, data.pixels.getContext("2d"));
  } else if (data.gone) {
    pictures.delete(data.canvas);
  } else {
    try {
      draw(data.steps, data.words.split("\0"));
    } catch (error) {
      console.error(error); // one frame is spoilt, and no more
    }
    drawn += 1;
    if (drawn === TELL) {
      drawn = 0;
      postMessage(TELL);
    }
  }
};
