import { expect, test } from "vitest";
import { InvalidRequest, PermissionDenied } from "../errors.ts";
import { type FileRoot, parseFilePath, parseFolderPath } from "./file-path.ts";

const home: FileRoot = { name: "", folder: "/srv/home", isWritable: false };
const photos: FileRoot = { name: "photos", folder: "/srv/photos", isWritable: false };

test.each([
  ["a.txt", home, ["a.txt"]],
  ["a/b/c", home, ["a", "b", "c"]],
  ["./a//b/./c/", home, ["a", "b", "c"]],
  ["photos/x.jpg", photos, ["x.jpg"]],
  ["photos", photos, []],
  ["a/photos", home, ["a", "photos"]],
  ["Ünïcode/名前.txt", home, ["Ünïcode", "名前.txt"]],
  // Not normalised: two spellings are two names (FP2).
  ["u\u0308", home, ["u\u0308"]],
  ["a..b/c...", home, ["a..b", "c..."]],
  ["%2e%2e", home, ["%2e%2e"]],
  ["x".repeat(255), home, ["x".repeat(255)]],
])("%s is inside", (text, root, parts) => {
  expect(parseFilePath(text, [home, photos])).toMatchObject({ root, parts });
});

test.each([
  "/etc/passwd",
  "/",
  "..",
  "a/../b",
  "a/..",
  "...",
  ".hidden",
  "a/.git/config",
  "a\\b",
  "..\\..",
  "a\0b",
  "a\nb",
  "a\u007fb",
  "x".repeat(256),
  "é".repeat(128),
  Array.from({ length: 2100 }, () => "a").join("/"),
  // What NFKC makes a separator or dots of: full-width and other look-alikes.
  "a\uff0fb",
  "\u2024\u2024",
  "\uff0e\uff0e",
  "\u2025",
  // A hidden name to somebody who normalises, or drops what cannot be seen.
  "\u2024git",
  "\u200b.git",
  "a\uff3cb",
  "\ud800",
])("%j is nowhere", (text) => {
  expect(() => parseFilePath(text, [home, photos])).toThrow(new PermissionDenied());
});

const shown: FileRoot = { name: "shown", folder: "/srv/shown", isWritable: true, showsHidden: true };

test.each([".profile", "a/.git/config", ".a/.b", "\u2024git", "..a"])(
  "%j is there where hidden names are shown",
  (text) => {
    expect(parseFilePath(`shown/${text}`, [home, shown])).toMatchObject({ root: shown, parts: text.split("/") });
    expect(() => parseFilePath(text, [home, shown])).toThrow(new PermissionDenied());
  },
);

test.each([
  "..",
  "...",
  "a/..",
  "\u2025",
  ".\u200b.",
  "a/.\u2024",
  ".sluice-uploads",
  ".Sluice-uploads/x",
  "a/\u2024sluice-x",
])("%j is nowhere, also where hidden names are shown", (text) => {
  expect(() => parseFilePath(`shown/${text}`, [home, shown])).toThrow(new PermissionDenied());
});

test("without a folder without a name, paths need the name of one", () => {
  expect(parseFilePath("photos/a", [photos]).parts).toEqual(["a"]);
  expect(() => parseFilePath("a", [photos])).toThrow(PermissionDenied);
  expect(() => parseFilePath("a", [])).toThrow(PermissionDenied);
});

test("an empty path says what is missing; of folders it is the one without a name", () => {
  expect(() => parseFilePath("", [home])).toThrow(InvalidRequest);
  expect(parseFolderPath("", [home])).toMatchObject({ root: home, parts: [], text: "" });
});
