// Functions of all pages. Pages work without them; they only make pages quicker to use.
import { watchAnswers } from "./answers.js";
import { watchCopying } from "./copying.js";
import { watchKeys } from "./keys.js";
import { watchLive } from "./live.js";
import { watchSubmits } from "./submitting.js";
import { showTimes } from "./times.js";
import { watchDrops } from "./dropping.js";
import { watchFileDrops } from "./dropping-files.js";
import { watchUploads } from "./uploading.js";

showTimes(document);
watchCopying(document);
watchDrops(document);
watchFileDrops(document);
watchKeys(document);
watchLive(document);
watchSubmits(document);
watchUploads(document);
watchAnswers(document);
