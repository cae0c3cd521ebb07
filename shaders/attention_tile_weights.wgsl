// Writes the weights ${OF}_0 … ${OF}_3, of a quad of the invocation's others, to `stage`.
{
  let by_own = transpose(mat4x4f(${OF}_0, ${OF}_1, ${OF}_2, ${OF}_3));
  let at = 4u * quad * LANES + lane;
  stage[at] = by_own[0];
  stage[at + LANES] = by_own[1];
  stage[at + 2u * LANES] = by_own[2];
  stage[at + 3u * LANES] = by_own[3];
}
