// What invocation t does of a product and of a sum (attention_tile.wgsl).
let lane = t % LANES;
let quad = t / LANES;
//#if !MATRIX
let column = t % COLUMNS;
let strip = t / COLUMNS % (QT / STRIP);
let part = t / (COLUMNS * (QT / STRIP));
//#end
